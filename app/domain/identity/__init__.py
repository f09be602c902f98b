"""Rules on callers: roles, grants, API tokens and the claims of external issuers."""
