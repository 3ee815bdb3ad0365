"""Loops that move the input and never the weights."""
