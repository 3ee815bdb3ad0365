"""From files to batches of views on the device."""
