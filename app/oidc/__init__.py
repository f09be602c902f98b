"""The tokens of other issuers: fetching their keys, verifying their signatures."""
