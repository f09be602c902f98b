"""Pages for people under /admin: server-rendered, the same use cases and queries as the API."""
