"""Durations as people write them: "10 epochs", "500 steps" or "5%" of the whole run."""

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_LONGEST = 1e12  # steps or epochs; more than any run can have, and exact as a float
_PATTERN = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(epochs?|steps?|%)\s*$")


class Duration(str):
    """A length of training; a string such as "10 epochs", "500 steps" or "5%"."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Duration":
        """Parse `text`, raising ValueError when it is no duration."""
        match = _PATTERN.match(text)
        if not match:
            raise ValueError(
                f'{text[:40]!r} is no duration; write "10 epochs", "500 steps" or "5%"'
            )
        amount, unit = match.groups()
        if float(amount) > _LONGEST:
            raise ValueError(f"{text[:40]!r} is longer than any run can be")
        if unit.startswith("step") and float(amount) % 1:
            raise ValueError(f"{text!r} is not a whole number of steps")
        return super().__new__(cls, f"{amount}%" if unit == "%" else f"{amount} {unit}")

    @property
    def amount(self) -> float:
        """The number in front of the unit."""
        return float(_PATTERN.match(self)[1])  # type: ignore[index]

    def steps(self, steps_per_epoch: int, total_steps: int | None = None) -> int:
        """Return the number of optimiser steps.

        Args:
            steps_per_epoch: Optimiser steps in one pass over the data.
            total_steps: Optimiser steps of the whole run; needed for percentages.
        """
        if self.endswith("%"):
            if total_steps is None:
                raise ValueError(f"{self!s} needs a run to be a share of")
            return round(self.amount / 100 * total_steps)
        if "step" in self:
            return int(self.amount)
        return round(self.amount * steps_per_epoch)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate from a string and serialise to one."""
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
