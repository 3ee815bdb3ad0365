"""What a step costs, counted and measured."""
