"""A Kubernetes API server: one client, watched caches, records of the loop made of them."""
