"""The core that trains any method."""
