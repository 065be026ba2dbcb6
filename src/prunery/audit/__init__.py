"""Checks anyone's table of results; needs no model."""
