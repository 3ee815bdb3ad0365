"""Measures of calibration, and calibrators that correct a classifier's confidence."""
