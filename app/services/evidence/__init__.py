"""Use cases on suites and evaluations: record, import, void."""
