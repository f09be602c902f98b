"""Rules on callers: roles, grants, API tokens and claims of other issuers."""
