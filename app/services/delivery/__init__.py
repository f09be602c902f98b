"""Use cases of serving fleets: resolve a channel, from the database or from cache."""
