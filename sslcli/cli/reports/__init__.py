"""Tables and figures of the commands that print more than one table."""
