"""Server-rendered pages under /admin, built on the same use cases and queries as the API."""
