"""Read configs of older versions: fill in the fields that they did not have yet."""

from collections.abc import Mapping
from typing import Any


def in_todays_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a written config, complete or not, with the fields that were added since."""
    return _with_read_out(_with_holdout_seed(_with_num_classes(dict(config))))


def _with_read_out(config: dict[str, Any]) -> dict[str, Any]:
    """Call the encoder's own output `encoder`, which was `output` beside quadrants."""
    evaluation = config.get("evaluation")
    if not isinstance(evaluation, dict) or evaluation.get("features") != "output":
        return config
    return {**config, "evaluation": {**evaluation, "features": "encoder"}}


def _with_holdout_seed(config: dict[str, Any]) -> dict[str, Any]:
    """Hold out what was held out before there was a `data.holdout_seed`: `seed` chose it.

    A config that names no preset was written by a person, and gets today's defaults.
    """
    data, names = config.get("data"), {"preset", "seed"}
    if not isinstance(data, dict) or "holdout_seed" in data or not names <= set(config):
        return config
    return {**config, "data": {**data, "holdout_seed": config["seed"]}}


def _with_num_classes(config: dict[str, Any]) -> dict[str, Any]:
    """Call the classes of a distilled student `num_classes`, as every other method does."""
    method = config.get("method")
    if not isinstance(method, dict) or method.get("name") != "distill" or "classes" not in method:
        return config
    renamed = {"num_classes" if key == "classes" else key: each for key, each in method.items()}
    return {**config, "method": renamed}
