"""What each command does: keywords in, numbers out, and a listener for the talk."""
