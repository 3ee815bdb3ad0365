"""Where samples come from: folders, archives, tables and built-in sets."""
