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

_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True)
class Order:
    """What the options say of a run, apart from its config."""

    out: str | None
    resume: bool
    overwrite: bool
    dry_run: bool
    device: str
    max_time: str | None

    def config_to_resume(
        self, preset: str | None, named: dict[str, Any], overrides: list[str], file: str | None
    ) -> Config:
        """Return the config of the run in --out; options may repeat it but not change it.

        Raises:
            CheckpointError: If there is nothing to resume.
            ConfigError: If an option contradicts the run's config.
        """
        from sslcli.config.presets import resolve
        from sslcli.engine.run import resumable_run

        if not self.out:
            raise UsageError("--resume needs the run's folder", "--out", "add --out RUN")
        stored = resolve(None, str(resumable_run(Path(self.out))), {}, []).config
        changed = resolve(None, str(Path(self.out) / "config.toml"), named, overrides).config
        if differing := _differences(stored.model_dump(), changed.model_dump()):
            hint = "leave these options out, or start another run"
            raise ConfigError("a resumed run keeps its config", ", ".join(differing), hint)
        return stored


def run_order(
    order: Order, config: Config, show: Show, *, splits: "Splits | None" = None
) -> dict[str, Any]:
    """Train, show and return the last metrics."""
    import torch

    from sslcli import assemble
    from sslcli.cli.estimate import show_estimate
    from sslcli.cli.watch import Bar
    from sslcli.config.presets import config_hash
    from sslcli.engine.precision import resolve_precision

    seconds = parse_duration(order.max_time) if order.max_time else None
    device = assemble.pick_device(order.device)
    precision, why = resolve_precision(config.train.precision, device)
    show.talk(f"device {device}, precision {precision} ({why}), seed {config.seed}")
    method = assemble.build_method(config, device)
    splits = splits or assemble.open_data(config, lambda what: Bar(show, what))
    show.talk(f"data {splits.train.name}: {len(splits.train):,} images; {splits.note}")
    training = assemble.build_training(
        config, method, splits.train, device, precision, Bar(show, "decoding")
    )
    if order.dry_run:
        show_estimate(training, show)
        return {}
    run = prepare_run(order, config)
    show.talk(f"run directory {run}")
    last = train_run(training, splits, run, order.resume, seconds, show)
    _finish(last, run, config_hash(config), torch.__version__, show)
    return last


def train_run(
    training: Any, splits: "Splits", run: Path, resume: bool, seconds: float | None, show: Show
) -> dict[str, Any]:
    """Run the loop under a watcher."""
    from sslcli import assemble
    from sslcli.cli.watch import RunWatcher
    from sslcli.engine import trainer
    from sslcli.engine.log import Log, open_board
    from sslcli.engine.run import truncate_metrics
    from sslcli.engine.stop import Stop

    if resume:
        for remark in trainer.resume(training, run):
            show.warn(remark)
        show.talk(f"resuming after step {training.step}")
        truncate_metrics(run / "metrics.jsonl", training.step)
    probe = assemble.online_knn(training.config, splits.train, training.device, training.precision)
    watcher = RunWatcher(show, training.total_steps, training.step, training.steps_per_epoch)
    with Stop(seconds) as stop, watcher:
        log = Log(run / "metrics.jsonl", watcher, open_board(run))
        return trainer.train(training, run, assemble.data_facts(splits), log, stop, probe)


def prepare_run(order: Order, config: Config) -> Path:
    """Return the run directory, made and holding its config unless the run is resumed."""
    from sslcli.config.presets import to_toml
    from sslcli.engine.files import write_atomically
    from sslcli.engine.run import CONFIG, create_run

    if order.resume:
        return Path(str(order.out))
    run = Path(order.out) if order.out else _free_folder(config)
    create_run(run, overwrite=order.overwrite)
    write_atomically(run / CONFIG, lambda path: path.write_text(to_toml(config)) and None)
    return run


def _free_folder(config: Config) -> Path:
    name = (config.preset or config.method.name).replace("/", "-")
    folders = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in range(1, 10_000))
    return next(folder for folder in folders if not folder.exists())


def _finish(last: dict[str, Any], run: Path, fingerprint: str, torch: str, show: Show) -> None:
    from sslcli.engine.checkpoint import NAME, versions

    show.talk(f"done; next: ssl knn-eval {run}")
    show.data(str(run / NAME))
    show.result(
        run=str(run),
        checkpoint=str(run / NAME),
        metrics=last,
        versions=versions(),
        config_hash=fingerprint,
    )


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as 3h55m, 90s or 1d.

    Raises:
        UsageError: If it is none.
    """
    match = _TIME.fullmatch(text.strip())
    if not text.strip() or not match:
        raise UsageError(f"{text!r} is no length of time", "--max-time", "write 3h55m, 45m or 90s")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return the dotted names of fields whose values differ."""
    found = []
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{path}{key}.")
        elif before != after:
            found.append(f"{path}{key}")
    return sorted(found)
