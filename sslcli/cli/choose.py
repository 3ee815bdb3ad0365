"""Pick the preset that suits the data, and say which one and why."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sslcli.config.methods.registry import is_custom
from sslcli.config.presets import list_presets
from sslcli.errors import DataError, UsageError

if TYPE_CHECKING:
    from sslcli.data.sources.open import Source

SMALL_SIDE = 64
RECIPE = "simsiam"  # whose views, encoder and optimiser a method of the user's own starts from


def choose_preset(
    method: str | None,
    preset: str | None,
    config: str | None,
    data: str | None,
    device: str,
    talk: Callable[[str], None],
) -> str | None:
    """Return a preset's name; None when a config file alone decides.

    Args:
        method: A paper's short name, or a class of the user's own.
        preset: A preset's name, which wins.
        config: A config file.
        data: What --data says.
        device: What --device says.
        talk: Told which preset was chosen and why.

    Raises:
        UsageError: If nothing says what to train, or the method has no fitting preset.
    """
    if preset:
        if method and not (fits(method, preset) or preset.endswith(".toml")):
            what = f"--preset {preset} is not one of --method {method}"
            raise UsageError(what, "--preset", "give one of the two")
        return preset
    if not method:
        if config:
            return None
        hint = "ssl pretrain --method simsiam; `ssl methods` lists them"
        raise UsageError("nothing says what to train", "--method, --preset or --config", hint)
    setting, reason = _setting(data, device)
    if is_custom(method):
        talk(f"all but the method as in {RECIPE}/{setting}, because {reason}; choose with --preset")
        return f"{RECIPE}/{setting}"
    settings = [name.split("/")[1] for name in list_presets() if name.startswith(f"{method}/")]
    if not settings:
        known = sorted({name.split("/")[0] for name in list_presets()})
        hint = f"there are: {', '.join(known)}"
        raise UsageError(f"no preset is for a method named {method!r}", "--method", hint)
    if setting not in settings:
        hint = f"choose one of: {', '.join(f'{method}/{name}' for name in settings)}"
        raise UsageError(f"{method} has no preset for this data", "--preset", hint)
    talk(f"preset {method}/{setting}, because {reason}; choose another with --preset")
    return f"{method}/{setting}"


def name_code_of(ckpt: str, method: str | None) -> None:
    """Let the code of a checkpoint's own method run, because the person says where it lies.

    Raises:
        UsageError: If the checkpoint's method is no such class.
        ConfigError: If the file cannot be read.
    """
    if method is None:
        return
    from sslcli.engine.checkpoint import load_checkpoint
    from sslcli.methods.custom import name_code

    name = load_checkpoint(ckpt).config.method.name
    if not is_custom(name) or method.rpartition(":")[2] != name.rpartition(":")[2]:
        hint = "name the file and the class that this checkpoint was trained with"
        raise UsageError(f"the checkpoint's method is {name}, not {method}", "--method", hint)
    name_code(method)


def fits(method: str, preset: str) -> bool:
    """Say whether a preset is one of a method; a method of the user's own goes with any."""
    return is_custom(method) or preset.startswith(f"{method}/")


def _setting(data: str | None, device: str) -> tuple[str, str]:
    """Return the setting for the data, and the reason."""
    if data in (None, "digits"):
        return "digits", "the data is the built-in digits" if data else "no --data is given"
    side = _typical_side(str(data))
    if side > SMALL_SIDE:
        return "imagenet", f"the images are about {side} pixels wide"
    from sslcli.engine.device import pick_device

    where = pick_device(device).type
    setting = "cifar10" if where == "cuda" else "cifar10-small"
    return setting, f"the images are about {side} pixels wide and the device is {where}"


def _typical_side(data: str) -> int:
    """Return the median shorter side of a few images; torchvision sets are known by name."""
    from sslcli.data.sources.open import open_source

    known = {"stl10": 96, "mnist": 28, "fashion-mnist": 28}
    if data in ("cifar10", "cifar100", "svhn", *known):
        return known.get(data, 32)
    source = open_source(data, part=None, root="")
    rows = range(0, len(source), max(1, len(source) // 9))
    sides = sorted(side for row in rows if (side := _side(source, row)))
    if not sides:
        what, hint = f"none of {len(rows)} images tried is readable", f"see: ssl data check {data}"
        raise DataError(what, source.name, hint)
    return sides[len(sides) // 2]


def _side(source: "Source", row: int) -> int:
    """Return the shorter side of an image, 0 when it is unreadable."""
    try:
        return int(min(source.load(row).shape[:2]))
    except DataError:
        return 0
