"""Several processes that train together: starting them, talking, summing and gathering."""
