"""One file a paper family."""
