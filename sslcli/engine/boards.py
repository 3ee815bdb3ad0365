"""Forward the rows of metrics.jsonl to other loggers, which write on this machine alone.

Each keeps its number in a file of the run, so that a resumed run goes on in the same place.
"""

import io
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sslcli.config.schema import Config, Logger
from sslcli.errors import UsageError
from sslcli.files import write_atomically

PROJECT = "sslcli"
_PACKAGES: dict[Logger, tuple[str, ...]] = {  # any of these brings the logger
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow-skinny", "mlflow"),
    "trackio": ("trackio",),
}
# Neither usage statistics nor reports of crashes; MLflow's files need no server and no database.
_LOCAL: dict[Logger, dict[str, str]] = {
    "wandb": {"WANDB_ERROR_REPORTING": "false"},
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"},
}


@runtime_checkable
class Board(Protocol):
    """Takes rows of metrics until it is closed."""

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Take the finite numbers of a row."""

    def close(self) -> None:
        """Put on the disk what is not there yet."""


def need_logger(config: Config) -> None:
    """Raise UsageError when the logger that a config names is not installed."""
    name = config.train.log
    if name and not _is_installed(name):
        what = f"{name} is not installed"
        raise UsageError(what, "log", f"pip install 'sslcli[{name}]', or leave `log` out")


def open_boards(run: Path, config: Config) -> dict[Logger, Board]:
    """Open the logger that a config names, and TensorBoard wherever it is installed, by name."""
    named = config.train.log
    wanted: dict[Logger | None, None] = (
        {"tensorboard": None} if _is_installed("tensorboard") else {}
    )
    wanted[named] = None
    if named:
        os.environ.update({**_LOCAL.get(named, {}), **os.environ})
    with redirect_stdout(io.StringIO()):  # some greet there, where only results belong
        return {name: _BOARDS[name](run, config) for name in wanted if name}


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a row, but for the step."""
    return {
        name: float(value)
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def _is_installed(name: Logger) -> bool:
    """Look for the package itself: a folder of its name would do for `import`."""
    for package in _PACKAGES[name]:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        return True
    return False


def _remembered(run: Path, name: Logger, make: Callable[[], str]) -> str:
    """Return the number that this run has with a logger, made at its start."""
    file = run / f"{name}.run"
    if not file.exists():
        made = make()
        write_atomically(file, lambda path: path.write_text(made, "utf-8"))
    return file.read_text("utf-8").strip()


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_none=True)


class TensorBoard:
    """Event files in the run's folder tensorboard/; each start of a run adds one."""

    def __init__(self, run: Path, config: Config) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an extra

        self._writer = SummaryWriter(str(run / "tensorboard"))

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Take the finite numbers of a row."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Put on the disk what is not there yet."""
        self._writer.close()


class Wandb:
    """Offline runs in the run's folder wandb/, for `wandb sync`; one number for all starts."""

    def __init__(self, run: Path, config: Config) -> None:
        import wandb  # noqa: PLC0415  an extra, and seconds

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=PROJECT, name=run.name, mode=mode, dir=str(run), config=_plain(config),
            resume="allow", id=_remembered(run, "wandb", lambda: secrets.token_hex(4)),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )  # fmt: skip

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Take the finite numbers of a row."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Put on the disk what is not there yet."""
        self._run.finish()


class MLflow:
    """An experiment in the run's folder mlflow/, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, run: Path, config: Config) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415  an extra, and seconds
        from mlflow.tracking import MlflowClient  # noqa: PLC0415  as above

        self._metric = Metric
        where = os.environ.get("MLFLOW_TRACKING_URI") or (run / "mlflow").resolve().as_uri()
        self._client = client = MlflowClient(tracking_uri=where)

        def make() -> str:
            known = client.get_experiment_by_name(PROJECT)
            experiment = known.experiment_id if known else client.create_experiment(PROJECT)
            made = str(client.create_run(experiment, run_name=run.name).info.run_id)
            params = [Param(name, str(value)[:500]) for name, value in _flat(_plain(config))]
            for first in range(0, len(params), 100):  # as many as it takes at a time
                client.log_batch(made, params=params[first : first + 100])
            return made

        self._id = _remembered(run, "mlflow", make)
        client.update_run(self._id, status="RUNNING")

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Take the finite numbers of a row."""
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._id, [self._metric(name, value, now, step) for name, value in row.items()]
        )

    def close(self) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self._id)


class Trackio:
    """A run of the project sslcli in trackio's own local store, for `trackio show`."""

    def __init__(self, run: Path, config: Config) -> None:
        import trackio  # noqa: PLC0415  an extra, and seconds

        name = _remembered(run, "trackio", lambda: f"{run.name}-{secrets.token_hex(4)}")
        self._finish = trackio.finish  # which leaves nothing to be said as Python ends
        self._run = trackio.init(
            project=PROJECT, name=name, config=_plain(config), resume="allow", embed=False,
            auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Take the finite numbers of a row."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Put on the disk what is not there yet."""
        with redirect_stdout(io.StringIO()):  # it says farewell there
            self._finish()


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables by their dotted names."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


_BOARDS: dict[Logger, Callable[[Path, Config], Board]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": MLflow,
    "trackio": Trackio,
}
