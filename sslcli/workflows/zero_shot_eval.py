"""Classify images by sentences that name the classes: no label is learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sslcli import assemble
from sslcli.config.methods.captions import CaptionsSection
from sslcli.config.methods.registry import SECTIONS
from sslcli.config.presets import to_toml
from sslcli.config.schema import Config
from sslcli.data.sources.base import need_labels
from sslcli.data.sources.sentences import Sentences
from sslcli.engine.checkpoint import NAME, save_checkpoint
from sslcli.engine.run_directory import CONFIG, check_free, create_run, unlock_run
from sslcli.errors import UsageError
from sslcli.evaluate.metrics import Accuracy, accuracy, ranking
from sslcli.evaluate.prompts import names_of, templates_of
from sslcli.evaluate.zero_shot import class_weights
from sslcli.files import write_atomically
from sslcli.listener import QUIET, Listener
from sslcli.methods.captions import scoring_of
from sslcli.workflows.run import Run, load


@dataclass(frozen=True)
class ZeroShotResult(Accuracy):
    """Accuracy of a classifier made of prompts.

    Attributes:
        prompts: Templates that were averaged.
        names: What they call each class, by its name in the data.
        by_prompt: Accuracy of each template alone, when there are several.
        cut: Prompts that were longer than the network takes.
        path: The run of the classifier, where it was kept.
    """

    prompts: tuple[str, ...] = field(default=(), repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    by_prompt: Mapping[str, float] = field(default_factory=dict, repr=False)
    cut: int = 0
    path: Path | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Wording:
    """What is said of the classes.

    Attributes:
        templates: M sentences with a place for a name.
        names: C names, in the order of the data's classes.
    """

    templates: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """Every prompt of the first class, then of the second, ..., C * M."""
        return [each.replace("{}", name) for name in self.names for each in self.templates]


def zero_shot_eval(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    prompts: str | Sequence[str] = (),
    names: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    listener: Listener = QUIET,
) -> ZeroShotResult:
    """Classify the test images by the class whose prompts lie nearest.

    The weights of a class are the mean of its prompts' unit vectors, made a unit vector (Radford et
    al. 2021, arXiv:2103.00020, section 3.1.4).

    Args:
        run: A run of a method with a tower of images and one of texts; see `load` for this and for
            `data`, `test`, `method`, `overrides`, `seed`, `device`, `precision`, `data_root`,
            `download` and `listener`.
        data: The data set, when not the checkpoint's.
        test: The data to test on.
        prompts: Templates with {} where a class's name goes, such as "a photo of a {}"; text files
            with one a line; "imagenet" for CLIP's 80 of ImageNet, "imagenet-7" for the best seven
            (the extra clip). None for the built-in ones of the data.
        names: A map from the data's classes to the prompts' names: a .json, .csv or .tsv, or
            "imagenet".
        out: Keep the classifier as a run, which `calibrate`, `ood_detect` and `robust_eval` take.
        overwrite: Replace the run in `out`.
        method: Where the class lies that the checkpoint names; see `load`.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        device: Where to run.
        precision: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit: a tower, labels, a prompt, a name.
    """
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=overrides,
        seed=seed, device=device, precision=precision, method=method, listener=listener,
    )  # fmt: skip
    if out is not None:
        check_free(Path(out), overwrite=overwrite)
    wording = wording_of(opened, prompts, names)
    opened.splits.need_held_out()
    embedded, cut = _embedded(opened, wording)
    test_part = opened.splits.test
    features, labels = opened.labelled_features(test_part, opened.tower("image"), reads="image")
    images = functional.normalize(features.double(), dim=1)
    weights = class_weights(embedded.double())
    count = len(wording.templates)
    protocol = f"{count} prompts a class, averaged" if count > 1 else wording.templates[0]
    found = accuracy(ranking(images @ weights.T), labels, len(weights), protocol)
    alone = {
        template: float(_top1(images, embedded[:, [number]].double(), labels))
        for number, template in enumerate(wording.templates)
    }
    path = None if out is None else _keep(opened, weights, Path(out), overwrite=overwrite)
    classes = test_part.class_names
    return ZeroShotResult(
        **{**vars(found), "classes": classes},
        prompts=wording.templates,
        names=dict(zip(classes, wording.names, strict=True)),
        by_prompt=alone if count > 1 else {},
        cut=cut,
        path=path,
    )


def wording_of(run: Run, prompts: str | Sequence[str], names: str | None) -> Wording:
    """Return the prompts for the test data's classes.

    Raises:
        SslError: If a tower, labels, a template's place or a name is missing.
    """
    for tower in ("image", "text"):
        run.tower(tower)
    given = [prompts] if isinstance(prompts, str) else prompts
    templates = templates_of(given, run.config.data.source)
    need_labels(run.splits.test)
    return Wording(templates, names_of(run.splits.test.class_names, names))


def _embedded(run: Run, wording: Wording) -> tuple[Tensor, int]:
    """Return the vectors of the prompts, [C, M, D], and how many were cut."""
    sentences = wording.sentences
    cut = assemble.count_cut(run.config, sentences)
    if cut:
        longest = assemble.text_views(run.config).longest
        said = f"{cut:,} of {len(sentences):,} prompts are longer than {longest} tokens and cut"
        run.listener.warn(said)
    found = run.features(Sentences("the prompts", sentences), run.tower("text"), reads="text")
    return found.features.unflatten(0, (len(wording.names), -1)), cut


def _top1(images: Tensor, prompts: Tensor, labels: Tensor) -> Tensor:
    return ((images @ class_weights(prompts).T).argmax(dim=1) == labels).double().mean()


def _keep(run: Run, weights: Tensor, out: Path, *, overwrite: bool) -> Path:
    """Write a run whose encoder is the tower of images and whose classifier are the weights."""
    config = _config_of(run, len(weights))
    scale, bias = scoring_of(run.method)
    kept = ("encoder.", "image_projection.")
    tensors = {n: t for n, t in run.checkpoint.tensors().items() if n.startswith(kept)}
    tensors["classifier.weight"] = (scale * weights).float().contiguous()
    tensors["classifier.bias"] = torch.full((len(weights),), bias)
    about = run.checkpoint.facts
    data = {**about.get("data", {}), "classes": list(run.splits.test.class_names)}
    facts = {**about, "data": data, "metrics": {}}
    create_run(out, overwrite=overwrite)
    try:
        write_atomically(out / NAME, lambda path: save_checkpoint(path, tensors, config, facts))
        write_atomically(out / CONFIG, lambda path: path.write_text(to_toml(config), "utf-8"))
    finally:
        unlock_run(out)
    run.listener.note(f"classifier kept in {out}")
    return out


def _config_of(run: Run, count: int) -> Config:
    """Return the config of a run that holds the classifier."""
    section = run.config.method
    if not isinstance(section, CaptionsSection):
        hint = "leave it out; the accuracy needs no classifier that is kept"
        raise UsageError(f"the classifier of {section.name} cannot be kept", "out", hint)
    fields = {"name": "zero-shot", "num_classes": count}
    fields |= {"dim": section.dim} if section.project_image else {}
    method = SECTIONS["zero-shot"].model_validate(fields)
    evaluation = run.config.evaluation.model_copy(update={"features": "head"})
    update = {
        "method": method,
        "texts": (),
        "text_encoder": None,
        "tokenizer": None,
        "evaluation": evaluation,
    }
    return run.config.model_copy(update=update)
