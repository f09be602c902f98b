"""Use cases for principals, tokens, web sessions and login."""
