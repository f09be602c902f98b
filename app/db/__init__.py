"""Database access: tables, sessions, and one module of queries for each concept."""
