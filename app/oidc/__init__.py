"""OpenID Connect issuers: fetching their documents and keys, verifying their tokens."""
