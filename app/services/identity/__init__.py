"""Use cases on principals, tokens, sessions and sign-in."""
