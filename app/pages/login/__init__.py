"""Sign-in to the pages, by API token or through an issuer, and the session cookie."""
