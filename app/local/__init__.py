"""Local mode: the registry with PostgreSQL and S3 from wheels, all on one machine."""
