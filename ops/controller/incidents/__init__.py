"""Incident objects: what is wanted of each, what the server holds, how the two are joined."""
