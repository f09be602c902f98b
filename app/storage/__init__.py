"""Storage: the object store, the staging area, archives, and the inspection of artifacts."""
