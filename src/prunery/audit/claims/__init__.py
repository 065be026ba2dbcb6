"""Checks of sentences against a table; each kind of claim is a row of `JUDGES`."""
