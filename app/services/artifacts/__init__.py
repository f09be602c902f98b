"""Use cases on base models, prefixes, versions, their bytes and their revocation."""
