"""Carry out one training run: what `pretrain`, `finetune` and the augmented probe share."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.cli.show import Show
from sslcli.config.schema import Config
from sslcli.errors import ConfigError, UsageError
from sslcli.listener import warn_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from sslcli.data.sources.splits import Splits
    from sslcli.engine.checkpoint import Checkpoint
    from sslcli.engine.loop import Training
    from sslcli.engine.stop import Stop


@dataclass(frozen=True)
class Place:
    """Where a run goes, and what may be there already.

    Attributes:
        out: The run directory; None for a free one below runs/.
        resume: Go on with the run that is there.
        overwrite: Replace the run that is there.
    """

    out: str | None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            where, hint = "--resume, --overwrite", "leave out one of them"
            raise UsageError("a run is either gone on with or replaced", where, hint)
        if self.resume and not self.out:
            raise UsageError("--resume needs the run's folder", "--out", "add --out RUN")

    def stored(self) -> Config:
        """Return the config of the run to resume, as its folder has it."""
        from sslcli.config.presets import resolve
        from sslcli.engine.run_directory import resumable_run

        return resolve(config_file=resumable_run(Path(str(self.out)))).config

    def saved(self) -> "Checkpoint | None":
        """Return what the run to resume has saved; None for a new run or when that is nothing."""
        from sslcli.cli.resuming import saved

        return saved(Path(str(self.out))) if self.resume else None

    def check(self, config: Config) -> Path:
        """Return the run directory, having checked that this run may be made or resumed there.

        Raises:
            SslError: If something else is there, or nothing to resume.
        """
        from sslcli.cli.resuming import refused
        from sslcli.engine.run_directory import check_free

        run = Path(self.out) if self.out else _free_folder(config)
        if not self.resume:
            check_free(run, overwrite=self.overwrite)
        elif differing := refused(self.stored(), config, self.saved()):
            hint = "repeat the first command's options or leave them all out, or start another run"
            raise ConfigError("a resumed run keeps its config", ", ".join(differing), hint)
        return run

    def make(self, config: Config) -> Path:
        """Make the run directory, unless the run is resumed; write its config and return it."""
        from sslcli.config.presets import to_toml
        from sslcli.engine.run_directory import CONFIG, create_run, lock_run
        from sslcli.files import write_atomically

        try:
            run = self.check(config)
            if self.resume:
                lock_run(run)
            else:
                create_run(run, overwrite=self.overwrite)
        except UsageError:
            if self.out:
                raise
            return self.make(config)  # another process took the free folder: find the next
        write_atomically(run / CONFIG, lambda path: path.write_text(to_toml(config), "utf-8"))
        return run


def restarted(place: Place) -> Place:
    """Return the place to go on in when a launcher has started this training anew.

    Raises:
        UsageError: If nobody can tell which run that was.
    """
    from sslcli.engine.run_directory import CONFIG
    from sslcli.environment import world

    if not world().restarts:
        return place
    if not place.out:
        raise UsageError("a restarted training cannot find its run", "--out", "add --out RUN")
    if (Path(place.out) / CONFIG).is_file():
        return Place(place.out, resume=True)
    return place


def pretrain_run(
    config: Config,
    place: Place,
    stop: "Stop",
    where: "torch.device",
    show: Show,
    estimate: "Callable[[Training], None] | None" = None,
) -> None:
    """Train from a config and show what came of it; with `estimate` only show what it would cost.

    With several processes each calls this, and the first one writes.
    """
    from sslcli import assemble
    from sslcli.cli.resuming import begun_with, check_code, check_data, check_length
    from sslcli.distributed.collective import from_main, is_main, main_first, world_size
    from sslcli.engine.accumulation import accumulation_note
    from sslcli.engine.device import resolve_precision, tune_device
    from sslcli.environment import world

    place = from_main(place)  # launchers may count restarts differently on each machine
    if is_main():
        place.check(config)
    tune_device(where)
    past = from_main(place.saved() if is_main() else None)
    precision, why = resolve_precision(config.train.precision, where, begun_with(past, where))
    processes = f"{world_size()} processes, " if world_size() > 1 else ""
    show.note(f"device {where}, {processes}precision {precision} ({why}), seed {config.seed}")
    with main_first(world().local_rank == 0):  # it writes the index that the others read
        splits = assemble.open_training(config, show.bar)
    if past is not None:
        check_data(past, splits, show)
        check_code(past, config, show)
    method = assemble.build_method(
        config, where, assemble.facts_of(splits.train), load_start=past is None, told=show.note
    )
    show.note(f"data {splits.train.name}: {len(splits.train):,} images; {splits.note}")
    warn_of(splits.oddities, show)
    bar = show.bar("decoding")
    training = assemble.build_training(config, method, splits.train, where, precision, bar)
    show.note(f"images are {training.loader.mode}")
    if note := accumulation_note(method, config.train):
        show.note(note)
    if past is not None:
        check_length(past, training, show)
    if estimate:
        estimate(training)
        return
    run = Path(from_main(str(place.make(config)) if is_main() else ""))
    show.note(f"run directory {run}")
    facts = assemble.data_facts(config, splits) if is_main() else {}
    last = train_run(training, splits, facts, run, place, stop, show)
    _finish(last, run, config, show)


def train_run(
    training: "Training",
    splits: "Splits",
    facts: dict[str, Any],
    run: Path,
    place: Place,
    stop: "Stop",
    show: Show,
) -> dict[str, Any]:
    """Run the loop under a watcher and return the last metrics; `facts` go into the checkpoint."""
    from sslcli.cli.resuming import lacked
    from sslcli.cli.watch import RunWatcher
    from sslcli.distributed.collective import from_main, is_main
    from sslcli.engine import trainer
    from sslcli.engine.checkpoint import load_checkpoint
    from sslcli.engine.log import Log, open_board
    from sslcli.engine.rollback import train_with_rollbacks
    from sslcli.engine.run_directory import truncate_metrics
    from sslcli.engine.state import has_state
    from sslcli.methods.custom import code_facts
    from sslcli.workflows.probing import online_knn, why_no_online_knn

    if place.resume and not from_main(has_state(run)):
        show.note("this run had saved nothing yet: starting at step 0")
    elif place.resume:
        for remark in trainer.resume(training, run):
            show.warn(remark)
        if training.step >= training.total_steps:
            show.note(f"this run is complete: {training.step} of {training.total_steps} steps")
            return dict(load_checkpoint(run).facts["metrics"])
        show.note(f"resuming after step {training.step} of {training.total_steps}")
    if is_main():
        facts = facts | lacked(place.saved()) | code_facts(training.config)
        truncate_metrics(run / "metrics.jsonl", training.step)
    config = training.config
    if config.evaluation.online_every and (why := why_no_online_knn(config, splits)):
        show.note(f"no online kNN: {why}")
    probe = online_knn(config, splits, training.device, training.precision)
    watcher = RunWatcher(show, training.total_steps, training.step, training.steps_per_epoch)
    with stop, watcher:
        log = Log(run / "metrics.jsonl", watcher, open_board(run) if is_main() else None)
        return train_with_rollbacks(training, run, facts, log, stop, probe)


def _free_folder(config: Config) -> Path:
    preset = config.preset.removesuffix(".toml")
    name = Path(preset).name if preset != config.preset else preset.replace("/", "-")
    name = name or config.method.name
    folders = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in range(1, 10_000))
    return next(folder for folder in folders if not folder.exists())


def _finish(last: dict[str, Any], run: Path, config: Config, show: Show) -> None:
    from sslcli.config.presets import config_hash
    from sslcli.engine.checkpoint import NAME

    show.note(f"done; next: ssl knn-eval {shlex.quote(str(run))}")
    show.data(str(run / NAME))
    show.result(
        run=str(run),
        checkpoint=str(run / NAME),
        metrics=last,
        config_hash=config_hash(config),
    )
