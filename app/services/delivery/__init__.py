"""Use cases of serving fleets: resolving a channel, from the database or from the cache."""
