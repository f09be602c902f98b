"""The SQL edge: tables, sessions, and one module of queries per concept."""
