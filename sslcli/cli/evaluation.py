"""An evaluation of a checkpoint: its data and encoder, its run, and its published numbers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from sslcli.cli.publish import Publisher
from sslcli.cli.show import Show
from sslcli.data.sources.base import need_labels

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sslcli.cli.requirement import Requirement
    from sslcli.config.schema import Config
    from sslcli.data.sources.open import Source
    from sslcli.data.sources.splits import Splits
    from sslcli.engine.checkpoint import Checkpoint
    from sslcli.engine.device import Precision
    from sslcli.workflows.run import Run
    from sslcli.workflows.unreadable import Unreadable

METRICS = ("top1", "top5", "n")
TOP = 5  # classes up to which there is no top5


@dataclass(frozen=True)
class DataChoice:
    """The options that say which data an evaluation uses."""

    data: str | None = None
    test: str | None = None
    data_root: str | None = None
    download: bool = False

    def named(self) -> dict[str, Any]:
        """Return them as config fields; a new data set brings its own test part."""
        fields = {
            "data.source": self.data,
            "data.test": self.test,
            "data.root": self.data_root,
            "data.download": self.download or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's encoder and the data to evaluate it on."""

    checkpoint: "Checkpoint"
    config: "Config"
    splits: "Splits"
    encoder: "nn.Module"
    device: "torch.device"
    precision: "Precision"
    show: Show
    require: "Sequence[Requirement]"
    started: float
    unreadable: "dict[str, Unreadable]" = field(default_factory=dict)

    @property
    def listener(self) -> Show:
        """Who is told what happens."""
        return self.show

    def labelled_features(self, source: "Source") -> "tuple[Tensor, Tensor]":
        """Return the features [N, D] and classes [N] of a labelled source."""
        from sslcli import assemble

        found = self.features(source)
        return found.features, assemble.labels_of(source, found)

    def features(self, source: "Source", module: "nn.Module | None" = None) -> Any:
        """Return what the encoder, or another module, makes of any source; cached."""
        from sslcli import assemble

        found = assemble.features_of(
            module or self.encoder,
            source,
            self.config,
            self.device,
            self.precision,
            cache=self.checkpoint.run / "features",
            bar=self.show.bar,
        )
        self.leave_out(source, found.rows)
        if found.note:
            self.show.warn(found.note)
        if found.from_cache:
            self.show.note(
                f"features of {source.name} come from {self.checkpoint.run / 'features'}"
            )
        return found

    def leave_out(self, source: "Source", rows: "Tensor") -> None:
        """Count and name the images of a source that are not among the `rows` that were read."""
        from sslcli.workflows.unreadable import warn_of_unreadable

        if source.name not in self.unreadable:
            found = warn_of_unreadable(source, rows, self.config.data, self.show)
            self.unreadable.update(found)

    @property
    def publisher(self) -> Publisher:
        """What shows the numbers."""
        return Publisher(self.show, cast("Run", self), self.require, self.started)

    def plan(self) -> None:
        """Say what would be run; for `--dry-run`."""
        self.publisher.plan()

    def publish(self, found: Mapping[str, Any], **more: Any) -> None:
        """Publish the numbers; see `Publisher`."""
        self.publisher.publish(found, **more)


def open_evaluation(
    ckpt: str,
    choice: DataChoice,
    show: Show,
    *,
    set_: Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    require: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
    named: Mapping[str, Any] | None = None,
    labelled: bool = True,
) -> Evaluation:
    """Check every option, then load the checkpoint's encoder and open the data.

    Args:
        ckpt: A checkpoint or run directory.
        choice: The data.
        show: The command's streams.
        set_: What each `--set` says.
        seed: Seed, when not the checkpoint's.
        device: Where to run.
        precision: Arithmetic, when not the checkpoint's.
        require: What each `--require` says.
        metrics: What will be measured, for `require`.
        named: Further fields by dotted name; None is left out.
        labelled: Whether the data must have labels.
    """
    from sslcli.cli.requirement import Requirement
    from sslcli.engine.checkpoint import load_checkpoint

    for text in require:
        Requirement.parse(text, metrics)
    checkpoint = load_checkpoint(ckpt)
    given = {"seed": seed, "train.precision": precision, **(named or {})}
    fields = choice.named() | {name: value for name, value in given.items() if value is not None}
    if choice.data and not choice.test:
        fields["data.test"] = None
    config = revised(checkpoint, fields, set_, show)
    opened = _open(checkpoint, config, device, show, labelled=labelled)
    if len(opened.splits.train.class_names) <= TOP:
        metrics = [name for name in metrics if not name.startswith("top5")]
    return replace(opened, require=[Requirement.parse(text, metrics) for text in require])


def revised(
    checkpoint: "Checkpoint", fields: Mapping[str, Any], set_: Sequence[str], show: Show
) -> "Config":
    """Return a checkpoint's config with options laid over it, and its data found from here."""
    from sslcli.config.presets import revise
    from sslcli.data.sources.places import given_fields, located

    config = revise(checkpoint.config, fields, set_)
    data, remarks = located(config.data, checkpoint.paths, given_fields(fields, set_))
    for remark in remarks:
        show.note(remark)
    return config.model_copy(update={"data": data})


def _open(
    checkpoint: "Checkpoint", config: "Config", device: str, show: Show, *, labelled: bool
) -> Evaluation:
    from sslcli import assemble
    from sslcli.data.sources.splits import shared_files
    from sslcli.engine.device import pick_device, resolve_precision
    from sslcli.evaluate.learned import expect_unseen
    from sslcli.listener import warn_of
    from sslcli.nn.read_out import read_out

    where = pick_device(device)
    arithmetic, _ = resolve_precision(config.train.precision, where)
    encoder = read_out(assemble.load_encoder(checkpoint, where), config.evaluation.features)
    splits = assemble.open_data(config, show.bar)
    for source in (splits.train, splits.test) if labelled else ():
        need_labels(source)
    for remark in expect_unseen(checkpoint, splits.test):
        show.warn(remark)
    counts = f"{len(splits.train):,} training and {len(splits.test):,} test images"
    show.note(f"checkpoint {checkpoint.path}, step {checkpoint.facts.get('step')}")
    show.note(f"data {splits.train.name}: {counts}; {splits.note}")
    warn_of((*splits.oddities, *shared_files(splits.train, splits.test)), show)
    show.note(f"device {where}, precision {arithmetic}, seed {config.seed}")
    return Evaluation(
        checkpoint, config, splits, encoder, where, arithmetic, show, (), time.perf_counter()
    )
