"""Which replica leads: the Lease, and who keeps it."""
