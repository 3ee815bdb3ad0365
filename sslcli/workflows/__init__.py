"""One function a command: keywords in, numbers out, and a listener that is told of progress."""
