"""Checks for what cannot be in a table of results; each check is a row of `CHECKS`."""
