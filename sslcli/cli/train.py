"""Carry out one training run: what `pretrain`, `finetune` and the augmented probe share."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.cli.show import Show
from sslcli.config.schema import Config
from sslcli.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from sslcli.data.splits import Splits
    from sslcli.engine.loop import Training
    from sslcli.engine.stop import Stop

_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True)
class Place:
    """Where a run goes, and what may be there already."""

    out: str | None
    resume: bool = False
    overwrite: bool = False

    def folder(self, config: Config) -> Path:
        """Return the run directory, having checked that a run may be made or resumed there."""
        from sslcli.engine.run import check_free, resumable_run

        run = Path(self.out) if self.out else _free_folder(config)
        if self.resume:
            resumable_run(run)
        else:
            check_free(run, overwrite=self.overwrite)
        return run

    def prepare(self, run: Path, config: Config) -> None:
        """Make the run directory and write its config, unless the run is resumed."""
        from sslcli.config.presets import to_toml
        from sslcli.engine.files import write_atomically
        from sslcli.engine.run import CONFIG, create_run

        if not self.resume:
            create_run(run, overwrite=self.overwrite)
            write_atomically(run / CONFIG, lambda path: path.write_text(to_toml(config)))


def stored_config(out: str | None, named: dict[str, Any], overrides: list[str]) -> Config:
    """Return the config of the run to resume; options may repeat it but not change it.

    Raises:
        CheckpointError: If there is nothing to resume.
        ConfigError: If an option contradicts the run's config.
    """
    from sslcli.config.presets import resolve, revise
    from sslcli.engine.run import resumable_run

    if not out:
        raise UsageError("--resume needs the run's folder", "--out", "add --out RUN")
    stored = resolve(config_file=resumable_run(Path(out))).config
    changed = revise(stored, named, overrides)
    if differing := _differences(stored.model_dump(), changed.model_dump()):
        hint = "leave these options out, or start another run"
        raise ConfigError("a resumed run keeps its config", ", ".join(differing), hint)
    return stored


def pretrain_run(
    config: Config, place: Place, stop: "Stop", device: str, show: Show, *, dry_run: bool
) -> None:
    """Train from a config and show what came of it; with `dry_run` show what it would cost."""
    from sslcli import assemble
    from sslcli.cli.estimate import show_estimate
    from sslcli.cli.watch import Bar
    from sslcli.engine.precision import resolve_precision, tune_device

    run = place.folder(config)
    where = assemble.pick_device(device)
    tune_device(where)
    precision, why = resolve_precision(config.train.precision, where)
    show.talk(f"device {where}, precision {precision} ({why}), seed {config.seed}")
    method = assemble.build_method(config, where)
    splits = assemble.open_unlabelled(config, lambda what: Bar(show, what))
    show.talk(f"data {splits.train.name}: {len(splits.train):,} images; {splits.note}")
    bar = Bar(show, "decoding")
    training = assemble.build_training(config, method, splits.train, where, precision, bar)
    if dry_run:
        show_estimate(training, show)
        return
    place.prepare(run, config)
    show.talk(f"run directory {run}")
    last = train_run(training, splits, run, stop, show, resume=place.resume)
    _finish(last, run, config, show)


def train_run(
    training: "Training", splits: "Splits", run: Path, stop: "Stop", show: Show, *, resume: bool
) -> dict[str, Any]:
    """Run the loop under a watcher and return the last metrics."""
    from sslcli import assemble
    from sslcli.cli.watch import RunWatcher
    from sslcli.engine import trainer
    from sslcli.engine.log import Log, open_board
    from sslcli.engine.run import truncate_metrics

    if resume:
        for remark in trainer.resume(training, run):
            show.warn(remark)
        show.talk(f"resuming after step {training.step}")
        truncate_metrics(run / "metrics.jsonl", training.step)
    probe = assemble.online_knn(training.config, splits.train, training.device, training.precision)
    watcher = RunWatcher(show, training.total_steps, training.step, training.steps_per_epoch)
    with stop, watcher:
        log = Log(run / "metrics.jsonl", watcher, open_board(run))
        return trainer.train(training, run, assemble.data_facts(splits), log, stop, probe)


def _free_folder(config: Config) -> Path:
    name = (config.preset or config.method.name).replace("/", "-")
    folders = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in range(1, 10_000))
    return next(folder for folder in folders if not folder.exists())


def _finish(last: dict[str, Any], run: Path, config: Config, show: Show) -> None:
    from sslcli.config.presets import config_hash
    from sslcli.engine.checkpoint import NAME, versions

    show.talk(f"done; next: ssl knn-eval {run}")
    show.data(str(run / NAME))
    show.result(
        run=str(run),
        checkpoint=str(run / NAME),
        metrics=last,
        versions=versions(),
        config_hash=config_hash(config),
    )


def parse_duration(text: str | None) -> float | None:
    """Return the seconds of a duration such as 3h55m, 90s or 1d; None for None.

    Raises:
        UsageError: If it is none.
    """
    if text is None:
        return None
    match = _TIME.fullmatch(text.strip())
    if not text.strip() or not match:
        raise UsageError(f"{text!r} is no length of time", "--max-time", "write 3h55m, 45m or 90s")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return the dotted names of fields whose values differ."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{path}{key}.")
        elif before != after:
            found.append(f"{path}{key}")
    return found
