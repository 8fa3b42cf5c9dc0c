"""One Fleet object, from its spec to its loop, its status and its Incidents."""
