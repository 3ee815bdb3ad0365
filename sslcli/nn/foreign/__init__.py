"""Weights that other codes have saved: read without running anything, renamed, and recognised."""
