"""Training: settings, the one loop, recovery, resumable state."""
