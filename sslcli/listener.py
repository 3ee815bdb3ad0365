"""The protocol by which work reports to a terminal, a notebook or nobody."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

Bar = Callable[[int, int], None]  # called with (done, total)


@runtime_checkable
class Watcher(Protocol):
    """Follows one training run."""

    def step(self, step: int) -> None:
        """Take note of one more step; called often, must be cheap."""

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Show one row of metrics."""

    def warn(self, text: str) -> None:
        """Show one line that must not be missed."""


@runtime_checkable
class Remark(Protocol):
    """Something that is odd about data."""

    @property
    def what(self) -> str:
        """The remark itself."""

    @property
    def where(self) -> str:
        """The file."""

    @property
    def hint(self) -> str:
        """The advice."""


@runtime_checkable
class Listener(Protocol):
    """Hears what a workflow has to say while it works."""

    def note(self, text: str) -> None:
        """Take in one line that is good to know."""

    def warn(self, text: str) -> None:
        """Take in one line that must not be missed."""

    def bar(self, what: str) -> Bar:
        """Return what is to be called with (done, total) as a long piece of work goes on."""

    def watcher(
        self, total_steps: int, first_step: int, steps_per_epoch: int, *, rows: str = "images"
    ) -> AbstractContextManager[Watcher]:
        """Return who follows a training run.

        Args:
            total_steps: Steps of the whole run.
            first_step: Step the run goes on from.
            steps_per_epoch: Steps of one pass over the data.
            rows: The word for what a step is made of.
        """


def warn_of(remarks: Iterable[Remark], listener: Listener) -> None:
    """Warn of what is odd about data, each in one line."""
    for remark in remarks:
        parts = (remark.what, remark.where, remark.hint)
        listener.warn(" - ".join(part for part in parts if part))


class SilentWatcher:
    """Follows a run without a word but for warnings, which become Python's; a context manager."""

    def __enter__(self) -> "SilentWatcher":
        return self

    def __exit__(self, *_: object) -> None: ...

    def step(self, step: int) -> None:
        """Say nothing."""

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Issue a UserWarning."""
        warnings.warn(text, UserWarning, stacklevel=2)


class Quiet:
    """Keeps notes and progress to itself and turns warnings into Python's."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Issue a UserWarning."""
        warnings.warn(text, UserWarning, stacklevel=2)

    def bar(self, what: str) -> Bar:
        """Return a bar that shows nothing."""
        return lambda done, total: None

    def watcher(
        self, total_steps: int, first_step: int, steps_per_epoch: int, *, rows: str = "images"
    ) -> SilentWatcher:
        """Return a silent one."""
        return SilentWatcher()


QUIET = Quiet()
