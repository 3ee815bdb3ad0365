"""Commands; each module imports torch only inside its function."""
