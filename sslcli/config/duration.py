"""Durations as people write them: "10 epochs", "500 steps", "5%" of the whole run, or a floor."""

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_LONGEST = 1e12  # steps or epochs; more than any run can have, and exact as a float
_PATTERN = re.compile(
    r"^\s*(\d+(?:\.\d+)?)\s*(epochs?|steps?|%)\s*(?:,\s*at\s+least\s+(\d+)\s+steps?\s*)?$"
)


class Duration(str):
    """A length of training; a string such as "10 epochs", "500 steps" or "5%".

    "10 epochs, at least 500 steps" is for data of unknown size: few rows are shown more often.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> "Duration":
        """Parse `text`, raising ValueError when it is no duration."""
        match = _PATTERN.match(text)
        if not match:
            raise ValueError(
                f'{text[:40]!r} is no duration; write "10 epochs", "500 steps" or "5%"'
            )
        amount, unit, least = match.groups()
        if max(float(amount), float(least or 0)) > _LONGEST:
            raise ValueError(f"{text[:40]!r} is longer than any run can be")
        if unit.startswith("step") and float(amount) % 1:
            raise ValueError(f"{text!r} is not a whole number of steps")
        words = f"{amount}%" if unit == "%" else f"{amount} {unit}"
        return super().__new__(cls, f"{words}, at least {least} steps" if least else words)

    @property
    def amount(self) -> float:
        """The number in front of the unit."""
        return float(_PATTERN.match(self)[1])  # type: ignore[index]

    @property
    def unit(self) -> str:
        """Its unit: "epoch", "step" or "%"."""
        return str(_PATTERN.match(self)[2]).removesuffix("s")  # type: ignore[index]

    @property
    def least(self) -> int:
        """The fewest steps that it stands for."""
        return int(_PATTERN.match(self)[3] or 0)  # type: ignore[index]

    def steps(self, steps_per_epoch: int, total_steps: int | None = None) -> int:
        """Return the number of optimiser steps.

        Args:
            steps_per_epoch: Optimiser steps in one pass over the data.
            total_steps: Optimiser steps of the whole run; needed for percentages.
        """
        return max(self.least, self._counted(steps_per_epoch, total_steps))

    def _counted(self, steps_per_epoch: int, total_steps: int | None) -> int:
        if self.unit == "%":
            if total_steps is None:
                raise ValueError(f"{self!s} needs a run to be a share of")
            return round(self.amount / 100 * total_steps)
        return round(self.amount * (steps_per_epoch if self.unit == "epoch" else 1))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate from a string and serialise to one."""
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
