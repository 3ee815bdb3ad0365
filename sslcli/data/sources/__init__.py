"""Sources of samples: folders, archives, tables and built-in sets."""
