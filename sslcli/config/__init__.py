"""Validated configuration; imports neither torch nor numpy."""
