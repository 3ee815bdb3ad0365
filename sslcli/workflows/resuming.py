"""Resume a run: which fields must be as they were, and which may differ."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from sslcli.config.methods.registry import is_custom
from sslcli.config.presets import OPTION, Resolved, decisive, revise
from sslcli.config.schema import Config
from sslcli.data.sources.files import OF_CONTENT, read_whole, same_data
from sslcli.data.sources.places import given_fields, located
from sslcli.data.sources.splits import Splits
from sslcli.distributed.collective import from_main, is_main
from sslcli.engine.checkpoint import Checkpoint, load_checkpoint
from sslcli.engine.device import has_native_bf16
from sslcli.engine.loop import Training
from sslcli.engine.schedule import lr_factor, weight_decay
from sslcli.engine.state import saved_states
from sslcli.errors import CheckpointError, ConfigError
from sslcli.listener import Listener
from sslcli.methods.custom import code_facts

LACKED = "lacked"  # fact: fields that the version which began the run did not know
_BY_CONTENT = {"data.source", "data.test"}
_FITTED = re.compile(  # what `fit` may change
    r"train\.(accumulate|chunk_size)|views\.\d+\.size|encoder\.width"
    r"|data\.(image_size|resize|workers|memory_budget_gib)"
)
_SHOWN = 5  # fields in a message
_LENGTHS = {"train.duration", "train.patience"} | {
    f"evaluation.{kind}.duration" for kind in ("linear", "finetune", "distill")
}


def saved(run: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint that a run has saved; None if it has none."""
    for folder in reversed(saved_states(run)):
        try:
            return load_checkpoint(folder / "model.safetensors")
        except CheckpointError:
            continue  # resuming says that it is damaged, and takes the one before
    return None


def refused(old: Config, new: Config, past: Checkpoint | None) -> list[str]:
    """Return the fields that keep a config from resuming a run, because they differ from the run's.

    Once the run has saved something, `check_length` and `check_data` compare lengths and data by
    their meaning instead.
    """
    free = set(_LENGTHS) if past else set()
    if past and str(past.data.get("fingerprint")).startswith(OF_CONTENT):
        free |= _BY_CONTENT
    if _is_same_class(old.method.name, new.method.name):
        free.add("method.name")
    return [field for field in differences(old, new) if field not in free]


def _is_same_class(old: str, new: str) -> bool:
    """Tell whether two names are one class in a file, which may lie elsewhere by now."""
    both = is_custom(old) and is_custom(new)
    return both and old.rpartition(":")[2] == new.rpartition(":")[2]


def spelled(config: Config, fields: Sequence[str]) -> str:
    """Return the first of some fields with their values in a config, without tables and gaps."""
    tree, found = decisive(config), list[str]()
    for field in fields[:_SHOWN]:
        node: Any = tree
        for part in field.split("."):
            node = dict(enumerate(node)) if isinstance(node, list) else node
            key = int(part) if part.isdigit() else part
            node = node.get(key) if isinstance(node, dict) else None
        if node is not None and not isinstance(node, dict):
            found.append(f"{field}={json.dumps(node)}")
    return ", ".join(found)


def differences(old: Config, new: Config) -> list[str]:
    """Return the dotted names of the fields in which two configs would train differently."""
    return list(_differences(decisive(old), decisive(new)))


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = ({str(i): value for i, value in enumerate(each)} for each in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path


def aged(resolved: Resolved, past: Checkpoint | None) -> tuple[Config, list[str]]:
    """Return a config in which fields that the run's version did not know keep their old meaning.

    A preset may set a field that is newer than the run, whose default is what older versions did.
    The run goes on as it began, unless an option asks for something else.

    Args:
        resolved: The config of the presets and options as they are now.
        past: The checkpoint that the run has saved.

    Returns:
        The config, and the fields in which it is the run's and not the preset's.
    """
    if past is None:
        return resolved.config, []
    tree, was = (c.model_dump(mode="json") for c in (resolved.config, past.config))
    unknown, kept = lacked(past).get(LACKED, []), list[str]()
    for different in differences(past.config, resolved.config):
        field = next((each for each in unknown if _is_within(different, each)), None)
        if not field or field in kept or _is_asked_for(field, resolved.sources):
            continue
        (*_, name), table = field.split("."), _table(tree, field)
        if name in table:  # or a section has another name, which is refused
            table[name] = _table(was, field)[name]
            kept.append(field)
    return Config.model_validate(tree) if kept else resolved.config, kept


def refitted(old: Config, wished: Config) -> tuple[Config, list[str]]:
    """Return a config with the sizes of a run that was made to fit, and the fields it then keeps.

    Args:
        old: The run's config.
        wished: The config of the presets and options.
    """
    was, now = (config.model_dump(mode="json") for config in (old, wished))
    kept = [field for field in _differences(was, now) if _FITTED.fullmatch(field)]
    changes = {field: _table(was, field)[field.rpartition(".")[2]] for field in kept}
    return (revise(wished, changes) if kept else wished), kept


def lacked(past: Checkpoint | None) -> dict[str, list[str]]:
    """Return the fact that lists the fields which the version that began the run did not know."""
    if past is None:
        return {}
    fields = _unset(past.config) | set(past.facts.get(LACKED, []))
    return {LACKED: sorted(fields)} if fields else {}


def _unset(node: Any, path: str = "") -> set[str]:
    """Return the dotted names of the fields that the file a config was read from did not have."""
    if isinstance(node, tuple):
        inner = {str(index): each for index, each in enumerate(node)}
    elif isinstance(node, BaseModel):
        inner = {name: getattr(node, name) for name in node.model_fields_set}
    else:
        return set()
    found = set().union(*(_unset(each, f"{path}{name}.") for name, each in inner.items()))
    known = type(node).model_fields if isinstance(node, BaseModel) else inner
    return found | {f"{path}{name}" for name in known if name not in inner}


def _is_asked_for(field: str, sources: Mapping[str, str]) -> bool:
    asked = (name for name, origin in sources.items() if origin.startswith((OPTION, "`overrides`")))
    return any(_is_within(name, field) for name in asked)


def _is_within(field: str, section: str) -> bool:
    return f"{field}.".startswith(f"{section}.")


def _table(tree: Any, field: str) -> dict[str, Any]:
    """Return the table that holds a field."""
    for part in field.split(".")[:-1]:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    found: dict[str, Any] = tree
    return found


def stored(config: Config, run: Path, fields: Mapping[str, Any], texts: Sequence[str]) -> Config:
    """Return a run's config with changes laid over it, and the present paths of data and code."""
    past = saved(run)
    data, _ = located(config.data, past.paths if past else {}, given_fields(fields, texts))
    method = config.method
    if _is_same_class(method.name, str(named := fields.get("method.name"))):
        method = method.model_copy(update={"name": named})
    return revise(config.model_copy(update={"data": data, "method": method}), fields, texts)


def check_data(past: Checkpoint, splits: Splits, listener: Listener) -> None:
    """Compare the content of the data with that which the run began with.

    Raises:
        ConfigError: If it is other data.
    """
    then, now = past.data, splits.train
    if is_main():
        read_whole(now, listener.bar("reading the images"))
    same = from_main(
        same_data(str(then.get("fingerprint")), now.fingerprint) if is_main() else None
    )
    if same is None:
        listener.warn(f"this run does not say what was in {now.name}: it must be the same data now")
    elif not same:
        before = past.paths.get("source", then.get("name"))
        hint = "go on with the images that it began with, or start another run"
        where = f"{now.name} now, {before} then"
        raise ConfigError("a resumed run keeps its data, and this is other data", where, hint)


def check_code(past: Checkpoint, config: Config, listener: Listener) -> None:
    """Warn when the file of the user's own method is another than the run began with."""
    then, now = past.facts.get("code"), code_facts(config).get("code")
    if isinstance(then, dict) and now and then.get("sha256") != now["sha256"]:
        listener.warn(
            f"{now['file']} is other code than this run began with, in {then.get('file')}"
        )


def begun_with(past: Checkpoint | None, device: torch.device) -> str | None:
    """Return the precision that a run began with; older ones took bf16 wherever a device had it."""
    if past is None:
        return None
    before = "bf16" if has_native_bf16(device) else "fp32"
    return str(past.facts.get("precision", before))


def check_length(past: Checkpoint, training: Training, listener: Listener) -> None:
    """Allow a run another length, and tell the listener what that does to its schedule.

    Raises:
        ConfigError: If the run has done more steps than it is to have.
    """
    done, per_epoch = int(past.facts["step"]), training.steps_per_epoch
    before = past.config.train.duration.steps(per_epoch)
    now, duration = training.total_steps, training.config.train.duration
    if now == before:
        return
    if now < done:
        what = f"{duration} are {now} steps, and this run has done {done} already"
        raise ConfigError(what, "train.duration", "give a longer one, or start another run")
    changed = "lengthened" if now > before else "shortened"
    listener.note(f"the run is {changed} from {before} to {now} steps, of which {done} are done")
    if now > done:
        listener.note(_rates(training, done, before, now))


def _rates(training: Training, done: int, before: int, now: int) -> str:
    """Say how another length changes the rate and the weight decay."""
    config, per_epoch = training.config, training.steps_per_epoch
    groups = training.optimizer.param_groups
    base = next((g for g in groups if not g["constant_lr"]), groups[0])["base_lr"]
    old, new = (base * lr_factor(config.schedule, done, n, per_epoch) for n in (before, now))
    name = config.schedule.name
    if old == new:
        text = f"the {name} schedule goes on at a rate of {new:.4g}"
    else:
        text = (
            f"the {name} schedule is stretched to fit: the rate jumps from {old:.4g} to {new:.4g}"
        )
    old, new = (weight_decay(config.optimizer, done, n) for n in (before, now))
    if old != new:
        text += f", weight decay from {old:.4g} to {new:.4g}"
    return f"{text}; whatever else follows the run's length, such as a momentum, is stretched too"
