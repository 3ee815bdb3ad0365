"""The cost of a step, counted and measured."""
