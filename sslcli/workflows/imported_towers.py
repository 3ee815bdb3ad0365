"""Make a run of both towers of CLIP that another code has saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslcli import assemble
from sslcli.config.presets import resolve, revise
from sslcli.config.schema import Config
from sslcli.data.text.kept import remember
from sslcli.errors import told_of
from sslcli.nn.foreign.folder import Described
from sslcli.nn.foreign.towers import FoundTowers
from sslcli.nn.weights import LoadReport, check_weights
from sslcli.workflows.changes import divided
from sslcli.workflows.imported_classifier import Kept
from sslcli.workflows.imported_config import Wish

_PRESETS = {False: "clip/vit-b32", True: "clip/resnet50"}  # by whether the pool projects
_WITH_BIAS = "siglip/scenes-colour"  # whose fields a method with a bias has


def with_towers(
    found: FoundTowers, path: Path, where: str, wish: Wish, folder: Described | None
) -> tuple[Kept, LoadReport, list[str]]:
    """Return what is kept of two towers, what was found, and what was chosen and why.

    Args:
        found: The towers.
        path: The file or the folder, beside whose weights a tokenizer may lie.
        where: The file, for the error.
        wish: What is said of the weights.
        folder: What the folder says.

    Raises:
        SslError: If no tokenizer is known, or something does not fit.
    """
    config, why = _config(found, wish, folder)
    tokenizer = assemble.tokenizer_for(config, path)
    with told_of("text_encoder"):
        known = assemble.fitted(assemble.known_text_encoder(config), tokenizer, None, why.append)
    assert config.tokenizer
    update = {"digest": remember(tokenizer)}
    config = config.model_copy(
        update={
            "text_encoder": known, "tokenizer": config.tokenizer.model_copy(update=update)
        }
    )  # fmt: skip
    method = assemble.build_method(config)
    check_weights(method, found.tensors, where, found.prefix)
    method.load_state_dict(found.tensors)
    report = LoadReport(tuple(found.tensors), found.left, found.prefix, found.layout)
    return Kept(config, method.state_dict()), report, why


def _config(found: FoundTowers, wish: Wish, folder: Described | None) -> tuple[Config, list[str]]:
    """Return the config of a run of two towers, without the tokenizer's digest."""
    why = [f"two towers in the layout of {found.layout}", *found.notes]
    preset = wish.preset or _PRESETS[not found.projects_images]
    if not wish.preset:
        why.append(f"images and protocols are those of {preset}; choose with `preset`")
    plain = resolve(preset).config.model_dump()
    plain |= {
        "preset": preset,
        "method": _section(found),
        "encoder": found.encoder.model_dump(),
        "text_encoder": found.text_encoder.model_dump(),
        "texts": [{"max_length": found.text_encoder.max_positions}],
        "tokenizer": {"kind": "own"},
    }
    plain["data"] |= {"source": "", "test": None, "seeds": None}
    plain["train"]["chunk_size"] = None
    if folder and folder.data:
        plain["data"] |= dict(folder.data)
    elif found.image_size != plain["data"]["image_size"]:
        plain["data"] |= {"image_size": found.image_size, "resize": found.image_size}
    fields, texts = divided({}, wish.changes)
    return revise(Config.model_validate(plain), fields, texts), why


def _section(found: FoundTowers) -> Mapping[str, Any]:
    """Return the section of the method: with a bias SigLIP's, or else CLIP's."""
    preset = _WITH_BIAS if found.has_bias else _PRESETS[False]
    section = resolve(preset).config.method.model_dump()
    return section | {"dim": found.dim, "project_image": found.projects_images}
