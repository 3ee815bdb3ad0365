"""How far confidence can be believed, and calibrators that mend it."""
