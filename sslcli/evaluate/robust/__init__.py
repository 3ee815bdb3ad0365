"""Robustness: accuracy under attack, and under common corruptions."""
