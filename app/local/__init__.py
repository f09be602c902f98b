"""Everything on one machine: the real servers, started from wheels and stopped with us."""
