"""Run the chains of `ssl sample-sgld` up a density, and measure where they end."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslcli.cli.evaluation import Evaluation, open_evaluation
from sslcli.cli.reports.sampling import Drawn, Report, metrics_of
from sslcli.cli.sampling_judge import Judge
from sslcli.cli.sampling_plan import Plan, Request, chosen_classes, make_plan
from sslcli.cli.show import Show
from sslcli.config.presets import config_hash
from sslcli.data.loader import eval_batches
from sslcli.data.sources.splits import Subset
from sslcli.engine.checkpoint import Checkpoint, load_checkpoint
from sslcli.errors import UnhealthyError
from sslcli.evaluate.classifier import class_names, find_classes
from sslcli.evaluate.finite import need_finite
from sslcli.evaluate.learned import expect_unseen
from sslcli.evaluate.sampling import finite_chains
from sslcli.files import storage_fault
from sslcli.workflows.density import ChainEnds, EnergyModel, need_density

REAL_IMAGES = 2_048  # whose energies are drawn beside the chains'


def sample(request: Request, show: Show) -> None:
    """Run the whole command."""
    checkpoint = load_checkpoint(request.ckpt)
    need_density(checkpoint)
    names = _names(checkpoint)
    classes = chosen_classes(request.classes, names)
    judge = Judge(request.judge, names) if request.judge else None
    sampler = {"step_size": request.step_size, "noise": request.noise}
    evaluation = open_evaluation(
        request.ckpt, request.choice, show, set_=request.set_, seed=request.seed,
        device=request.device, precision=request.precision, require=request.require,
        metrics=metrics_of(judge is not None), labelled=False,
        named={f"method.sampler.{name}": value for name, value in sampler.items()},
    )  # fmt: skip
    for remark in expect_unseen(judge.checkpoint, evaluation.splits.test) if judge else ():
        show.warn(remark)
    density = EnergyModel(checkpoint, evaluation.config, evaluation.device, evaluation.precision)
    plan = make_plan(request, evaluation, density, classes)
    show.note(str(plan))
    if request.dry_run:
        _show(plan, evaluation)
        return
    folder = _writable(Path(request.out) if request.out else checkpoint.run / "figures")
    torch.manual_seed(plan.seed)
    drawn = _drawn(plan, density, _run(plan, density, show), show)
    report = Report(evaluation, plan, drawn, names, _real_energies(plan, evaluation, density))
    if judge:
        report.ask(judge)
    report.write(folder)
    report.publish()


def _names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the names of the classes that a model knows; none for one without classes."""
    method: Any = checkpoint.config.method
    count, names = method.num_classes or 0, class_names(checkpoint)
    return names if len(names) == count else tuple(map(str, range(count)))


def _show(plan: Plan, evaluation: Evaluation) -> None:
    """Say what would be run; for `--dry-run`."""
    chains, steps = len(plan.labels), plan.settings.steps
    counts = {"chains": chains, "steps": steps, "gradients": chains * steps}
    evaluation.show.table("", ("what", "number"), list(counts.items()))
    evaluation.show.result(
        dry_run=True, **counts, **plan.facts(), config_hash=config_hash(evaluation.config)
    )


def _run(plan: Plan, density: EnergyModel, show: Show) -> ChainEnds:
    """Draw the starts and run the chains."""
    if plan.start == "buffer":
        starts, repeated = density.recalled(plan.labels)
        if repeated:
            show.warn(f"{repeated} chains start where others do: the buffer holds no more images")
    else:
        anything = torch.randint(density.num_classes or 1, plan.labels.shape)
        starts = density.fresh(plan.labels if plan.classes else anything)
    return density.run(starts, plan.climbed, plan.settings, show.bar("SGLD steps"))


def _drawn(plan: Plan, density: EnergyModel, ends: ChainEnds, show: Show) -> Drawn:
    """Drop the chains that failed, and measure where the others ended, in float32.

    Raises:
        UnhealthyError: If every chain failed.
    """
    keep = finite_chains(ends.samples, ends.energies)
    failed = int((~keep).sum())
    if failed == len(keep):
        hint = "use a smaller --step-size, or --set method.sampler.gradient_clamp=0.1"
        if density.precision == "fp16":
            hint = f"fp16 ends at 65,504: take --precision bf16 or fp32; or {hint}"
        raise UnhealthyError(f"all {failed} chains ended in values that are not finite", "", hint)
    if failed:
        show.warn(f"{failed} of {len(keep)} chains ended in values that are not finite; left out")
    samples, labels = ends.samples[keep], plan.labels[keep]
    probabilities = density.probabilities(samples) if density.num_classes else None
    if probabilities is not None and not plan.classes:
        labels = probabilities.argmax(dim=1)  # which is how JEM's figures are sorted
    by_class = plan.target == "class"
    return Drawn(
        samples=density.to_pixels(samples),
        energies=density.energy(samples, labels if by_class else None),
        log_p=-density.energy(samples),
        labels=labels,
        climbed=labels if by_class else torch.full_like(labels, -1),
        probabilities=probabilities,
        trajectory=ends.energies[:, keep],
        non_finite=failed,
    )


def _real_energies(plan: Plan, evaluation: Evaluation, density: EnergyModel) -> Tensor | None:
    """Return the energies of training images, of the asked classes where chains climb those."""
    source, labels = evaluation.splits.train, evaluation.splits.train.labels
    rows = np.random.default_rng(plan.seed).permutation(len(source))
    if plan.target == "class":
        if labels is not None:
            labels = find_classes(labels, source.class_names, _names(evaluation.checkpoint))
        if labels is None or not np.isin(labels, plan.classes).any():
            evaluation.listener.note(
                f"{source.name} has no images of these classes to compare with"
            )
            return None
        rows = rows[np.isin(labels[rows], plan.classes)]
    rows = np.sort(rows[:REAL_IMAGES])
    part = Subset(source, rows, f"images of {source.name}")
    found, used = [], []
    for images, own in eval_batches(part, evaluation.config.data, density.batch, density.device):
        classes = None if plan.target == "marginal" else torch.as_tensor(labels)[rows][own]
        found.append(density.energy(images, classes))
        used.append(own.cpu())
    evaluation.leave_out(part, torch.cat(used))
    energies = torch.cat(found)
    need_finite(energies, f"energies of {source.name}", "fp32")
    return energies


def _writable(folder: Path) -> Path:
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
    return folder
