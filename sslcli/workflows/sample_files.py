"""Files of drawn samples: the tensors, a grid of the images, and the energies of the chains."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from sslcli.engine.checkpoint import storable
from sslcli.figures.samples import energy_trajectory, sample_grid
from sslcli.files import storage_fault, to_json, write_atomically
from sslcli.listener import Listener
from sslcli.workflows.drawn import SampleResult

SHOWN = 400  # images in the grid


def write_samples(
    result: SampleResult, folder: Path, checkpoint: str, listener: Listener
) -> SampleResult:
    """Write the tensors, then the grid and the trajectory.

    Args:
        result: The samples.
        folder: Where the files go.
        checkpoint: The model's, which the tensors' file names.
        listener: Who is told when the grid does not show all images.

    Returns:
        The result with the files' paths.

    Raises:
        ResourceError: If a file cannot be written; those before it are whole.
    """
    kind = "-class" if result.plan.classes else ""
    stem = f"{folder}/sgld-{result.plan.start}{kind}-seed-{result.plan.seed}"
    groups = _groups(result)
    writers: dict[str, Callable[[Path], object]] = {
        f"{stem}.safetensors": lambda path: path.write_bytes(_tensors(result, checkpoint)),
        f"{stem}.png": lambda path: sample_grid(groups, path),
    }
    if result.trajectory.numel():
        label = f"energy, -{result.plan.density} + constant (nats)"
        writers[f"{stem}-energy.png"] = lambda path: energy_trajectory(
            result.trajectory, result.real, label, path
        )
    for name, write in writers.items():
        write_atomically(Path(name), write)
    shown, n = sum(map(len, groups.values())), len(result.samples)
    if shown < n:
        listener.note(f"the grid shows {shown:,} of {n:,} images")
    return replace(result, files=tuple(writers))


def need_writable(folder: Path) -> None:
    """Make a folder before chains are run whose ends could not be kept.

    Raises:
        ResourceError: If it cannot be made or written to.
    """
    probe = folder / ".sgld.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise storage_fault(error, folder) from error


def _groups(result: SampleResult) -> dict[str, Tensor]:
    """Return the images of the grid by the name of their class."""
    present = sorted(set(result.labels.tolist()))
    each = max(1, SHOWN // len(present))
    names = result.names or ("",)  # which label -1 also finds
    return {names[label]: result.samples[result.labels == label][:each] for label in present}


def _tensors(result: SampleResult, checkpoint: str) -> bytes:
    """Return the .safetensors file."""
    verdict = result.verdict
    tensors = {
        "samples": result.samples,
        "energies": result.energies,
        "log_p": result.log_p,
        "trajectory": result.trajectory,
    }
    if result.share is not None:
        tensors |= {"labels": result.labels, "probabilities": result.share}
    if verdict:
        tensors["judged"] = verdict.seen
    facts = {
        "checkpoint": checkpoint,
        "class_names": result.names,
        "judge": verdict.facts() if verdict else None,
        **result.plan.facts(),
    }
    return bytes(save(storable(tensors), {"sampling": to_json(facts)}))
