"""What a method remembers from step to step."""
