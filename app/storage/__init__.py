"""The bytes' edge: the object store and what is computed on tensors."""
