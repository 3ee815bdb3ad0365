"""Every method: the section with its fields, and the class that trains it, both by name.

A method is one file in `methods/`, one section in `config/` and one line here. Numbers live in
presets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from sslcli.config.method_section import MethodSection

# method.name: (section in sslcli.config, class in sslcli.methods)
METHODS = {
    "simsiam": ("siamese:SimSiamConfig", "simsiam:SimSiam"),
    "supervised": ("energy:SupervisedConfig", "supervised:Supervised"),
    "jem": ("energy:JEMConfig", "jem:JEM"),
    "hdge": ("energy:HDGEConfig", "hdge:HDGE"),
    "igebm": ("energy:IGEBMConfig", "igebm:IGEBM"),
    "linear-probe": ("labelled:LinearProbeConfig", "supervised:LinearProbe"),
    "finetune": ("labelled:FinetuneConfig", "supervised:Finetune"),
}


def _section(place: str) -> type[MethodSection]:
    module, name = place.split(":")
    found: type[MethodSection] = getattr(import_module(f"sslcli.config.{module}"), name)
    return found


SECTIONS = {name: _section(section) for name, (section, _) in METHODS.items()}

if TYPE_CHECKING:
    MethodConfig = MethodSection
else:
    MethodConfig = Annotated[Union[tuple(SECTIONS.values())], Field(discriminator="name")]  # noqa: UP007
