"""The forms that a pruned network can run in: which there are, how fast and how large each one is."""
