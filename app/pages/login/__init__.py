"""Sign-in to the pages: by API token, through an issuer, and the session cookie."""
