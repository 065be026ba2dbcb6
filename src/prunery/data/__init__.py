"""Image sets by name, splits, and batches made on the device."""
