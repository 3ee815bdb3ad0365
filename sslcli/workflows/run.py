"""A checkpoint that was opened: its config, its network, its data, and the features of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.families import family_of
from sslcli.config.pixels import Pixels
from sslcli.config.presets import revise
from sslcli.config.schema import Config
from sslcli.config.section import Column
from sslcli.data.sources.base import Source, noun
from sslcli.data.sources.given import Images, given
from sslcli.data.sources.open import Part, open_source
from sslcli.data.sources.splits import Splits, shared_files
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import Precision, pick_device, resolve_precision
from sslcli.errors import UsageError
from sslcli.evaluate.classifier import known_classes
from sslcli.evaluate.features import Features
from sslcli.evaluate.learned import expect_unseen
from sslcli.listener import QUIET, Listener, warn_of
from sslcli.methods.base import Method
from sslcli.workflows.captioned import captioned
from sslcli.workflows.changes import Changes, divided, without_keeping
from sslcli.workflows.checkpoint_config import heading, name_code_of, revised
from sslcli.workflows.importing import checkpoint_of
from sslcli.workflows.unreadable import Unreadable, warn_of_unreadable


@dataclass(frozen=True)
class Run:
    """A checkpoint with the data to evaluate it on. Network and data are opened on first use.

    Attributes:
        checkpoint: Where the weights are.
        config: The checkpoint's, with what was changed laid over it.
        device: Where the network runs.
        precision: The arithmetic of its features.
        listener: Who is told what happens.
        unreadable: By data set, the images that could not be read so far.
    """

    checkpoint: Checkpoint
    config: Config
    device: torch.device
    precision: Precision
    listener: Listener = QUIET
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    _noted: set[str] = field(default_factory=set, init=False, repr=False)

    @property
    def metrics(self) -> dict[str, Any]:
        """The last numbers that training logged, by name; empty for weights from elsewhere."""
        return dict(self.checkpoint.facts.get("metrics", {}))

    @property
    def reads(self) -> Column:
        """The column of the data that the encoder takes, or the tower that is read out."""
        by_text = self.config.evaluation.features == "text-tower"
        return "text" if by_text else family_of(self.config.encoder).reads

    @property
    def pixels(self) -> Pixels:
        """How images become the encoder's input.

        Raises:
            UsageError: If it reads no images.
        """
        if self.config.evaluation.features == "text-tower":
            what = "this is for what reads images, and the tower of texts reads none"
            raise UsageError(what, "tower", "use the tower of images")
        return assemble.pixels_of(self.config)

    @cached_property
    def encoder(self) -> nn.Module:
        """The kept network, or what `evaluation.features` reads out: [B, 3, S, S] to [B, D]."""
        features = self.config.evaluation.features
        if features != "encoder":
            self.listener.note(f"features: {features}")
        return assemble.load_read_out(self.checkpoint, features, self.device)

    @cached_property
    def untrained(self) -> nn.Module:
        """As `encoder`, with fresh weights of the config's seed."""
        return self.fresh(self.config.evaluation.features)

    def fresh(self, features: str) -> nn.Module:
        """Return what `read_out` does, with fresh weights of the config's seed."""
        facts = assemble.remembered_facts(self.checkpoint)
        return assemble.fresh_read_out(self.config, features, self.device, facts)

    @cached_property
    def method(self) -> Method:
        """The whole method with its heads and memory, in evaluation mode."""
        return assemble.load_method(self.checkpoint, self.device)

    def tower(self, name: Column) -> nn.Module:
        """Return one of the method's towers in evaluation mode, by the column that it reads.

        Raises:
            UsageError: If the method has no such tower.
        """
        return assemble.tower_of(self.method, name)

    @cached_property
    def splits(self) -> Splits:
        """The data to train on and the data to test on.

        Raises:
            SslError: If it is not there, or was learned with its labels.
        """
        splits = assemble.open_data(self.config, self.listener.bar)
        for remark in expect_unseen(self.checkpoint, splits.test, self.listener.bar):
            self.listener.warn(remark)
        train, test = splits.train, splits.test
        counts = f"{len(train):,} training and {len(test):,} test {noun(train)}"
        self.listener.note(f"data {train.name}: {counts}; {splits.note}")
        warn_of((*splits.oddities, *shared_files(train, test)), self.listener)
        return splits

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classifier's classes, in its order; see `known_classes`."""
        return known_classes(self.checkpoint, self.splits.test.class_names, self.listener)

    def embed(self, images: Images) -> np.ndarray:
        """Return the features of images, decoded and cropped as in every evaluation, or of texts.

        Args:
            images: A path, a PIL image or a uint8 array [H, W, 3] with values 0 to 255, or of an
                encoder of texts a sentence; or N. A file and a PIL image of it give the same.

        Returns:
            One row an image, [N, D] float32; of a single image [1, D].

        Raises:
            SslError: If something is no image, cannot be read, or gives no finite features.
        """
        source = given(images, self.reads, self.config.data.white_point)
        config = without_keeping(self.config, len(source), max_bad_fraction=0.0)
        found = assemble.features_of(
            self.encoder, source, config, self.device, self.precision, bar=self.listener.bar
        )
        return found.features.numpy()

    def features(
        self,
        source: Source,
        network: nn.Module | None = None,
        precision: Precision | None = None,
        reads: Column | None = None,
    ) -> Features:
        """Return a network's features of every row that can be read; cached beside the run.

        Args:
            source: Images or texts.
            network: Instead of the encoder.
            precision: Instead of the run's.
            reads: The column of the source that the network takes, such as that of a `tower`; None
                for the encoder's.
        """
        cache = self.checkpoint.run / "features"
        found = assemble.features_of(
            network or self.encoder, source, self.config, self.device,
            precision or self.precision, cache=cache, bar=self.listener.bar,
            reads=reads or self.reads,
        )  # fmt: skip
        self.leave_out(source, found.rows)
        if found.note:
            self.listener.warn(found.note)
        hit = f"features of {source.name} come from {cache}"
        if found.from_cache and hit not in self._noted:  # once for all seeds
            self._noted.add(hit)
            self.listener.note(hit)
        return found

    def labelled_features(
        self,
        source: Source,
        network: nn.Module | None = None,
        precision: Precision | None = None,
        reads: Column | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the features [N, D] and classes [N] of a labelled source."""
        found = self.features(source, network, precision, reads)
        return found.features, assemble.labels_of(source, found)

    def open(self, spec: str, part: Part | None = None) -> Source:
        """Open data for the encoder to read, all or a part, and warn of what is out of line in it.

        Raises:
            DataError: If it is missing or unreadable, or has no such part.
        """
        data = self.config.data
        source = open_source(
            spec, part=part, root=data.root, download=data.download,
            progress=self.listener.bar("reading the data"), white_point=data.white_point,
            opened_for=self.reads,
        )  # fmt: skip
        warn_of(source.oddities, self.listener)
        return captioned(source, self.listener) if self.reads == "text" else source

    def leave_out(self, source: Source, rows: Tensor) -> None:
        """Count and name what of a source is not among the `rows` that were read."""
        if source.name not in self.unreadable:
            found = warn_of_unreadable(source, rows, self.config.data, self.listener)
            self.unreadable.update(found)


def load(
    run: "str | Path | Checkpoint | Run",
    *,
    data: str | None = None,
    test: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    overrides: Changes = (),
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    dry_run: bool = False,
    listener: Listener = QUIET,
) -> Run:
    """Open a checkpoint.

    Args:
        run: A run directory, a checkpoint.safetensors, weights of another code (imported below
            runs/ first), or what `checkpoint_of` or this function returned, opened anew, changed.
        data: The data set, when not the checkpoint's; a new one brings its own test part.
        test: The data to test on.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        overrides: Changes of the config, as a mapping or as `--set` writes them.
        seed: Instead of the checkpoint's.
        device: "auto", "cpu", "cuda" or "cuda:1"; of an opened run, "auto" is where it is.
        precision: Instead of the checkpoint's: "auto", "bf16", "fp16" or "fp32".
        method: Where the checkpoint's class lies, as "FILE.py:Class": that code may then run.
        encoder: The network, when the weights are another code's; None to tell it from them.
        preset: Whose images and protocols suit such weights; None to tell it from them.
        dry_run: Read such weights without writing a run of them.
        listener: Who is told what happens; an opened run keeps its own unless one is given.

    Raises:
        SslError: If there is no checkpoint, or something does not fit it.
    """
    given = run.checkpoint if isinstance(run, Run) else run
    checkpoint = checkpoint_of(given, encoder, preset, listener, dry_run=dry_run)
    if method:
        name_code_of(checkpoint, method)
    fields = {
        "data.source": data, "data.test": test, "data.root": data_root,
        "data.download": download or None, "seed": seed, "train.precision": precision,
    }  # fmt: skip
    fields = {name: value for name, value in fields.items() if value is not None}
    if data and not test:
        fields["data.test"] = None
    changes = divided(fields, overrides)
    if isinstance(run, Run):
        return _changed(run, *changes, device, listener)
    config = revised(checkpoint, *changes, listener)
    return _opened(checkpoint, config, pick_device(device), listener)


def _changed(
    run: Run, fields: Mapping[str, Any], texts: Sequence[str], device: str, listener: Listener
) -> Run:
    """Return an opened run with changes laid over it; the same object if they change nothing."""
    listener = run.listener if listener is QUIET else listener
    where = run.device if device == "auto" else pick_device(device)
    config = revise(run.config, fields, texts) if fields or texts else run.config
    if (config, where, listener) == (run.config, run.device, run.listener):
        return run
    before = heading(run.checkpoint, run.config, run.device, run.precision)
    told = before if listener is run.listener else ()
    return _opened(run.checkpoint, config, where, listener, *told)


def _opened(
    checkpoint: Checkpoint, config: Config, device: torch.device, listener: Listener, *told: str
) -> Run:
    precision, _ = resolve_precision(config.train.precision, device)
    for line in heading(checkpoint, config, device, precision):
        if line not in told:
            listener.note(line)
    return Run(checkpoint, config, device, precision, listener)
