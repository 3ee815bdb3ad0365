"""Find the class that trains a method, and import it on demand."""

from importlib import import_module

from sslcli.config.methods.registry import METHODS, is_custom
from sslcli.methods.base import Method
from sslcli.methods.custom import load_class


def method_class(name: str) -> type[Method]:
    """Return the class of a method by its config name, or by "path/to/file.py:Class".

    It is the base class for imported weights, which have an encoder and no method.

    Raises:
        ConfigError: If a class of the user's own cannot be loaded.
    """
    if is_custom(name):
        return load_class(name)
    if name not in METHODS:
        return Method
    module, attribute = METHODS[name][1].split(":")
    found: type[Method] = getattr(import_module(f"sslcli.methods.{module}"), attribute)
    return found
