"""What operators ask: is it alive, is it ready, what does it count, what does it run with; and the order to drain."""
