"""The fields of each method, a file a family, and the table of all methods."""
