"""Measuring: accuracy as counts, cost in parameters and MACs."""
