"""Find the class that trains a method; it is imported when it is asked for."""

from importlib import import_module

from sslcli.config.methods import METHODS
from sslcli.methods.base import Method


def method_class(name: str) -> type[Method]:
    """Return the class of a method by its config name."""
    module, attribute = METHODS[name][1].split(":")
    found: type[Method] = getattr(import_module(f"sslcli.methods.{module}"), attribute)
    return found
