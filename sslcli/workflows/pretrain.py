"""Train a method on a data set, without labels or with those that it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from sslcli import assemble
from sslcli.config.schema import Config, Logger
from sslcli.data.sources.base import noun
from sslcli.data.sources.files import read_whole
from sslcli.data.sources.splits import Splits
from sslcli.data.text.kept import remember_of
from sslcli.distributed.collective import from_main, is_main, main_first, wait, world_size
from sslcli.engine.accumulation import accumulation_note
from sslcli.engine.boards import need_logger
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import Precision, resolve_precision, tune_device
from sslcli.engine.loop import Training
from sslcli.engine.stop import Stop, seconds
from sslcli.environment import world
from sslcli.evaluate.learned import LEARNED
from sslcli.listener import QUIET, Listener, warn_of
from sslcli.profile.forecast import step_seconds
from sslcli.workflows.choose import planned
from sslcli.workflows.fit import Outlook, look, room_on
from sslcli.workflows.place import Place, restarted
from sslcli.workflows.probing import check_best, embedded_at_once
from sslcli.workflows.resuming import begun_with, check_code, check_data, check_length
from sslcli.workflows.run import Run, load
from sslcli.workflows.sentences import tell_of_texts
from sslcli.workflows.training import expect_one, taking_part, train_run
from sslcli.workflows.ways import NAMED

_WORTH_FORETELLING = 200  # steps; fewer are over before anybody asks


def pretrain(
    method: str | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    data: str | None = None,
    test: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    max_time: str | float | None = None,
    keep: int | None = None,
    log: Logger | None = None,
    best: Literal["knn", "linear", "rank", "sts"] | None = None,
    patience: int | None = None,
    on_collapse: Literal["warn", "stop"] | None = None,
    devices: int = 1,
    device: str = "auto",
    precision: str | None = None,
    compile: bool = False,
    chunk_size: int | None = None,
    init: str | Path | None = None,
    init_text: str | Path | None = None,
    fit: bool = False,
    listener: Listener = QUIET,
) -> Run:
    """Train a method on images, without labels, and return the finished run.

    Args:
        method: A paper's short name, such as "simsiam", or a class of your own as
            "FILE.py:Class", whose file may then run. It picks the preset that suits the data.
        preset: A preset's name, such as "simsiam/cifar10", or a .toml file.
        config: A .toml file laid over the preset, such as a run's config.toml.
        overrides: Changes of the config, as a mapping or as `--set` writes them.
        seed: Decides every random choice; None for the preset's.
        data: A built-in set, a folder, a .tar or pattern, or a .csv; None for the
            preset's.
        test: Held-out data, when `data` has no test part.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        out: The run directory; None for a free one below runs/.
        resume: Go on with the run in `out` from its newest whole state.
        overwrite: Replace the run in `out`.
        max_time: When to stop with the state saved: seconds, or a text such as "3h55m".
        keep: Resumable states kept; None for the preset's.
        log: Where the rows of metrics.jsonl go, too: "tensorboard", "wandb", "mlflow" or "trackio",
            each an extra; without it to TensorBoard if that is installed.
        best: Keep the weights that measure best on a slice of the training data as
            best.safetensors, too: by "knn", a quick "linear" probe, or the effective "rank", which
            needs no labels; or by "sts", the pairs of sentences of evaluation.online_sts.
        patience: End after so many measurements without a better one.
        on_collapse: The reaction to collapsed embeddings; None for the preset's.
        devices: No more than 1; several need the command line or torchrun.
        device: "auto", "cpu", "cuda" or "cuda:1".
        precision: "auto", "bf16", "fp16" or "fp32"; None for the preset's.
        compile: Compile forward and backward with torch.compile.
        chunk_size: Images embedded at a time: a contrastive batch's exact gradient in less memory.
        init: Weights that the encoder starts from: a run, a file of another code, a Hugging Face
            folder, or "hf:ORG/NAME"; heads, targets and queues start as a fresh run's do.
        init_text: The same for the encoder of texts, of a method that has both.
        fit: Change the config by the least that makes the training fit the free memory.
        listener: Who is told what happens.

    Returns:
        The run, opened on the same device; its `metrics` are the last ones of the training.

    Raises:
        SslError: If something is missing or does not fit, the memory above all, the training
            becomes unhealthy, or time is up.
        KeyboardInterrupt: On Ctrl-C, once the state is saved.
    """
    expect_one(devices)
    stop = Stop(seconds(max_time), lambda run: f"the same call with resume=True, out={run!r}")
    place = restarted(Place(None if out is None else str(out), resume, overwrite))
    chosen = planned(
        method, preset, None if config is None else str(config), overrides, place, device, devices,
        listener, data=data, test=test, data_root=data_root, download=download, seed=seed,
        precision=precision, compile=compile, chunk_size=chunk_size, on_collapse=on_collapse,
        keep=keep, log=log, best=best, patience=patience, fit=fit,
        init=None if init is None else str(init),
        init_text=None if init_text is None else str(init_text),
    )  # fmt: skip
    with taking_part(device, listener.note) as where:
        start = prepared(chosen, place, where, listener, fit=fit)
        run, _ = train_from(start, place, stop, listener)
        wait()  # for the first process to have written the last checkpoint
        return load(run, device=str(where), listener=listener)


@dataclass(frozen=True)
class Prepared:
    """A training at the step to begin with, its data, and what it takes.

    A plan that does not fit the memory has a training without content. The facts are about what
    it started from.
    """

    training: Training
    splits: Splits
    outlook: Outlook
    facts: dict[str, Any] = field(default_factory=dict)


def prepared(
    config: Config,
    place: Place,
    where: torch.device,
    listener: Listener,
    *,
    fit: bool = False,
    planned_for: int = 0,
) -> Prepared:
    """Open the data and build the method and its training; each of several processes calls it.

    Args:
        config: The config to train with.
        place: Where the run goes, which is looked at and not made.
        where: This process's device.
        listener: Who is told what happens.
        fit: Change the config until the training fits; one to resume keeps its own.
        planned_for: Processes to plan for, which may not fit; 0 to train.

    Raises:
        SslError: If something is missing or does not fit.
    """
    place = from_main(place)  # launchers may count restarts differently on each machine
    if place.resume:
        config = assemble.as_begun(config, from_main(place.stored()))
        remember_of(Path(str(place.out)))
    if is_main():
        place.check(config)
    need_logger(config)
    tune_device(where)
    past = from_main(place.saved() if is_main() else None)
    precision, why = resolve_precision(config.train.precision, where, begun_with(past, where))
    processes = f"{world_size()} processes, " if world_size() > 1 else ""
    listener.note(f"device {where}, {processes}precision {precision} ({why}), seed {config.seed}")
    with main_first(world().local_rank == 0):  # it writes the index that the others read
        splits = assemble.open_training(config, listener.bar)
    config = assemble.settled(config, splits.train, listener.note)
    check_best(config, splits)
    if past is not None:
        check_data(past, splits, listener)
        check_code(past, config, listener)
    outlook = _outlook(config, splits, where, precision, planned_for)
    if fit and past is None:
        outlook = outlook.fitted(listener)
        config = outlook.config
    if not planned_for:
        outlook.check(listener)
    elif outlook.fits is False and outlook.training:
        return Prepared(outlook.training, splits, outlook)
    facts = assemble.facts_of(splits.train)
    for remark in assemble.completed_section(config, facts).remarks():
        listener.note(remark)
    method = assemble.build_method(
        config, where, facts, load_start=past is None, told=listener.note
    )
    rows = noun(splits.train)
    listener.note(f"data {splits.train.name}: {len(splits.train):,} {rows}; {splits.note}")
    warn_of(splits.oddities, listener)
    if planned_for:
        training = assemble.plan_training(
            config, splits.train, where, precision, method=method, machine_share=planned_for
        )
    else:
        bar = listener.bar("decoding")
        training = assemble.build_training(config, method, splits.train, where, precision, bar)
    listener.note(f"{rows} are {training.loader.mode}")
    if past is None:
        tell_of_texts(config, splits.train, listener)
    if note := accumulation_note(method, config.train, rows):
        listener.note(note)
    if past is not None:
        check_length(past, training, listener)
    if planned_for:
        return Prepared(training, splits, outlook)
    if is_main():
        read_whole(splits.train, listener.bar("reading the images"))
    about = _facts(config, splits, past) if is_main() else {}
    return Prepared(training, splits, outlook, about)


def _outlook(
    config: Config, splits: Splits, where: torch.device, precision: Precision, planned_for: int
) -> Outlook:
    """Return what a training takes beside what is free."""
    local = planned_for or min(world().local_size, world_size())

    def planner(other: Config) -> tuple[Training, int]:
        training = assemble.plan_training(
            other, splits.train, where, precision, machine_share=local
        )
        return training, embedded_at_once(other, splits, where)

    room, processes = room_on(where, local), planned_for or world_size()
    return look(config, planner, room, NAMED, processes)


def _foretell(training: Training, listener: Listener) -> None:
    """Say about how long a training on the CPU will take, unless it has few steps."""
    on_cpu = (
        training.device.type == "cpu" and world_size() == 1 and not training.config.train.compile
    )
    if not on_cpu or training.total_steps < _WORTH_FORETELLING:
        return
    seconds = step_seconds(training) * training.total_steps
    listener.note(f"about {_spoken(seconds)} of training, if this machine stays as busy as it is")


def _spoken(seconds: float) -> str:
    """Return a length of time as one says it."""
    if seconds < 100:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def train_from(
    start: Prepared, place: Place, stop: Stop, listener: Listener
) -> tuple[Path, dict[str, Any]]:
    """Make the run and train to its end; return its directory and the last metrics.

    With several processes each calls this, and the first one writes.
    """
    place = from_main(place)
    config, splits = start.training.config, start.splits
    if not place.resume:
        _foretell(start.training, listener)
    run = Path(from_main(str(place.make(config)) if is_main() else ""))
    listener.note(f"run directory {run}")
    return run, train_run(start.training, splits, start.facts, run, place, stop, listener)


def _facts(config: Config, splits: Splits, past: Checkpoint | None) -> dict[str, Any]:
    """Return what a checkpoint says of its data, and of the weights that it started from."""
    if past and {assemble.INIT, assemble.INIT_TEXT} & set(past.facts):  # which need not be there
        names = (assemble.INIT, assemble.INIT_TEXT, LEARNED)
        kept = {name: past.facts[name] for name in names if name in past.facts}
        return assemble.data_facts(config, splits) | kept
    start, parent = ({}, None) if past else assemble.start_of(config)
    return assemble.data_facts(config, splits, parent) | start
