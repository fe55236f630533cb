"""What was seen: metrics, access log, trace context, the lag of the loop. Nothing here may fail or delay a request."""
