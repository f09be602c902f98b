"""Rules on measurements: suites, evaluations, samples and reports."""
