"""Rules on evidence: suites, evaluations, samples and reports."""
