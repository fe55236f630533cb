"""The loop, its tasks, its deadlines and its sockets: what every room above stands on."""
