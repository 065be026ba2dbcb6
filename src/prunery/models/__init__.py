"""The model zoo, by name."""
