"""Use cases for suites and evaluations: record, import, void."""
