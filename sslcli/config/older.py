"""Read the configs that older versions wrote: say what they meant and had no field for."""

from collections.abc import Mapping
from typing import Any


def in_todays_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a written config, complete or not, with the fields that have come since.

    Which images were held out was chosen by `seed` before there was a `data.holdout_seed`. A config
    that names no preset is a person's, and means today's defaults.
    """
    data = config.get("data")
    if (
        not isinstance(data, dict)
        or "holdout_seed" in data
        or not {"preset", "seed"} <= set(config)
    ):
        return dict(config)
    return {**config, "data": {**data, "holdout_seed": config["seed"]}}
