"""Rules on serving: what a channel serves, cache leases, conditional requests."""
