"""Rules on delivery: the served versions of a channel, cache leases, conditional requests."""
