"""Sentences held against a table; each kind of claim is a row of `JUDGES`."""
