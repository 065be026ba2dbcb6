"""What leaves the workshop: smaller models, their files, and proof that they compute the same."""
