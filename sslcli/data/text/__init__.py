"""Texts on their way to the device: tokenizers, and the feed that uses one."""
