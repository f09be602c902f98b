"""Rules on release: policies, the gate, approvals, allocations and promotions."""
