"""Every method: the section with its fields, and the class that trains it, both by name.

A method is one file in `methods/`, one section in `config/methods/` and one line here. Numbers live
in presets. A method of the user's own is a file anywhere; see `CustomConfig`.
"""

import re
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union

from pydantic import ConfigDict, Discriminator, Tag

from sslcli.config.section import Column, MethodSection

# method.name: (section in sslcli.config.methods, class in sslcli.methods)
METHODS = {
    "exemplar-cnn": ("instance:ExemplarCNNConfig", "exemplar:ExemplarCNN"),
    "instdisc": ("instance:InstDiscConfig", "instdisc:InstDisc"),
    "cmc": ("cmc:CMCConfig", "cmc:CMC"),
    "invaspread": ("instance:InvaSpreadConfig", "invaspread:InvaSpread"),
    "moco-v1": ("instance:MoCoConfig", "moco:MoCo"),
    "moco-v2": ("instance:MoCoV2Config", "moco:MoCoV2"),
    "simsiam": ("siamese:SimSiamConfig", "simsiam:SimSiam"),
    "byol": ("siamese:BYOLConfig", "byol:BYOL"),
    "directpred": ("siamese:DirectPredConfig", "directpred:DirectPred"),
    "directcopy": ("siamese:DirectCopyConfig", "directcopy:DirectCopy"),
    "swav": ("clustering:SwAVConfig", "swav:SwAV"),
    "simclr": ("contrastive:SimCLRConfig", "simclr:SimCLR"),
    "simclr-v2": ("contrastive:SimCLRv2Config", "simclr_v2:SimCLRv2"),
    "supcon": ("contrastive:SupConConfig", "supcon:SupCon"),
    "moco-v3": ("transformers:MoCoV3Config", "moco_v3:MoCoV3"),
    "dino": ("transformers:DINOConfig", "dino:DINO"),
    "clae": ("adversarial:CLAEConfig", "clae:CLAE"),
    "advprop": ("adversarial:AdvPropConfig", "advprop:AdvProp"),
    "fast-advprop": ("adversarial:FastAdvPropConfig", "fast_advprop:FastAdvProp"),
    "cpc-v1": ("predictive:CPCV1Config", "cpc:CPCv1"),
    "cpc-v2": ("predictive:CPCV2Config", "cpc:CPCv2"),
    "amdim": ("local:AMDIMConfig", "amdim:AMDIM"),
    "clip": ("captions:CLIPConfig", "clip:CLIP"),
    "siglip": ("captions:SigLIPConfig", "siglip:SigLIP"),
    "zero-shot": ("captions:ZeroShotConfig", "zero_shot:ZeroShot"),
    "simcse": ("sentences:SimCSEConfig", "simcse:SimCSE"),
    "esimcse": ("sentences:ESimCSEConfig", "esimcse:ESimCSE"),
    "consert": ("sentences:ConSERTConfig", "consert:ConSERT"),
    "mlm": ("sentences:MaskedLanguageConfig", "mlm:MaskedLanguage"),
    "supervised": ("labelled:SupervisedConfig", "supervised:Supervised"),
    "jem": ("energy:JEMConfig", "jem:JEM"),
    "hdge": ("energy:HDGEConfig", "hdge:HDGE"),
    "igebm": ("energy:IGEBMConfig", "igebm:IGEBM"),
    "linear-probe": ("labelled:LinearProbeConfig", "supervised:LinearProbe"),
    "finetune": ("labelled:FinetuneConfig", "supervised:Finetune"),
    "distill": ("labelled:DistillConfig", "distill:Distill"),
}


def _section(place: str) -> type[MethodSection]:
    module, name = place.split(":")
    found: type[MethodSection] = getattr(import_module(f"sslcli.config.methods.{module}"), name)
    return found


SECTIONS = {name: _section(section) for name, (section, _) in METHODS.items()}
SECTIONS["imported"] = _section("imported:ImportedConfig")  # no class trains it


class CustomConfig(MethodSection):
    """A class outside the package, named as "path/to/file.py:Class".

    Its fields and needs are those of the class's own `Section`, which `methods.custom` checks them
    against; what evaluates a checkpoint need not have the file.
    """

    model_config = ConfigDict(extra="allow")
    reads: ClassVar[frozenset[Column]] = frozenset({"image", "text"})
    min_views: ClassVar[int] = 0
    contrasts_batch: ClassVar[bool] = True

    @property
    def learns_labels(self) -> bool:
        """Whether training read labels: what learns classes has kept their number.

        A checkpoint's file of code need not be here; where it is, its own `Section` says so.
        """
        return "num_classes" in (self.model_extra or {})


def is_custom(name: Any) -> bool:
    """Say whether a method's name is a class in a file."""
    return isinstance(name, str) and bool(re.fullmatch(r".+\.py:[A-Za-z_]\w*", name))


def _tag(section: Any) -> Any:
    """Return which section a table or a section belongs to."""
    name = section.get("name") if isinstance(section, dict) else getattr(section, "name", None)
    if is_custom(name):
        return "custom"
    return name if isinstance(name, str) and name in SECTIONS else None


if TYPE_CHECKING:
    MethodConfig = MethodSection
else:
    tagged = (Annotated[section, Tag(name)] for name, section in SECTIONS.items())
    MethodConfig = Annotated[
        Union[*tagged, Annotated[CustomConfig, Tag("custom")]], Discriminator(_tag)
    ]
