"""Memories that a method keeps from step to step."""
