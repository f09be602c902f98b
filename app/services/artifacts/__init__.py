"""Use cases for base models, prefixes, versions, stored bytes and revocation."""
