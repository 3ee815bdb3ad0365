"""Run checks of this machine one by one; a check that fails itself becomes a finding."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """The finding of one check.

    Attributes:
        check: Name of the check.
        state: "ok"; "note" for what is good to know; "warning" for what may slow down or break a
            run; "fault" for what keeps `ssl` from working.
        found: The state of things, in words.
        advice: The remedy; empty if none is needed.
    """

    check: str
    state: State
    found: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]


def checkup(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """Run every check and return what they found, in order.

    Args:
        checks: Each check with the name that stands for it when it fails.
    """
    return [finding for name, check in checks for finding in _run(name, check)]


def _run(name: str, check: Check) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:  # a broken torch raises anything, and the other checks must go on
        what = (str(error).splitlines() or [""])[0]
        found = f"could not be checked: {type(error).__name__}: {what}".rstrip(": ")
        return [Finding(name, "warning", found, "the message says what is missing or forbidden")]
