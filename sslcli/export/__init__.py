"""Encoders in the formats of other tools."""
