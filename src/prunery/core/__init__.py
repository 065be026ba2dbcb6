"""Scores, selection and masks. Import the modules; nothing is re-exported here."""
