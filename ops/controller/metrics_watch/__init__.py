"""What a fleet's loop sees of its Prometheus, and how far that is to be trusted."""
