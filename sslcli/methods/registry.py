"""Which class trains which `method.name`; a class is imported when it is asked for."""

from importlib import import_module

from sslcli.methods.base import Method

METHODS = {
    "simsiam": "sslcli.methods.simsiam:SimSiam",
    "supervised": "sslcli.methods.supervised:Supervised",
    "jem": "sslcli.methods.jem:JEM",
    "hdge": "sslcli.methods.hdge:HDGE",
    "igebm": "sslcli.methods.igebm:IGEBM",
    "linear-probe": "sslcli.methods.supervised:LinearProbe",
    "finetune": "sslcli.methods.supervised:Finetune",
}


def method_class(name: str) -> type[Method]:
    """Return the class of a method by its config name."""
    module, attribute = METHODS[name].split(":")
    found: type[Method] = getattr(import_module(module), attribute)
    return found
