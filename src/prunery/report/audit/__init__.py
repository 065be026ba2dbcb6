"""Cheap checks on anyone's results table: the impossible, the contradictory, the unfair."""
