"""Sparse inference on a CPU: a pruned model as a callable that does not multiply by zeros."""
