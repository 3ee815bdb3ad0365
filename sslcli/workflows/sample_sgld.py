"""Draw images from an energy-based model by Langevin chains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from sslcli.data.loader import eval_batches
from sslcli.data.sources.splits import Subset
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UnhealthyError, UsageError
from sslcli.evaluate.classifier import class_names, find_classes
from sslcli.evaluate.finite import need_finite
from sslcli.evaluate.learned import expect_unseen
from sslcli.evaluate.sampling import MIN_CHAINS, MIN_STEPS, Settling, finite_chains
from sslcli.listener import QUIET, Listener
from sslcli.workflows.checkpoint_config import name_code_of
from sslcli.workflows.density import ChainEnds, EnergyModel, Start, need_density
from sslcli.workflows.drawn import SampleResult, Samples
from sslcli.workflows.importing import checkpoint_of
from sslcli.workflows.judge import Judge, Verdict
from sslcli.workflows.run import Run, load
from sslcli.workflows.sample_files import need_writable, write_samples
from sslcli.workflows.sampling_plan import Target, chosen_classes, make_plan, with_sampler

REAL_IMAGES = 2_048  # whose energies are drawn beside the chains'


def sample_sgld(
    run: str | Path | Run,
    *,
    count: int = 64,
    class_: str | int | Sequence[str | int] = (),
    start: Start = "fresh",
    target: Target | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    noise: float | None = None,
    judge: str | Path | None = None,
    out: str | Path | None = None,
    data: str | None = None,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    data_root: str | None = None,
    download: bool = False,
    device: str = "auto",
    precision: str | None = None,
    listener: Listener = QUIET,
) -> SampleResult:
    """Run Langevin chains up the density that IGEBM, JEM or HDGE with a density term has learned.

    A step is one of stochastic gradient Langevin dynamics, as Du & Mordatch
    2019 (arXiv:1903.08689) and Grathwohl et al. 2020 (arXiv:1912.03263) use it.

    Args:
        run: A run directory, a checkpoint, or what `load` returned.
        count: Chains, one an image.
        class_: Share the chains out among these classes, by name or number; "all" is every class.
        start: "fresh" begins as training's fresh chains did, "buffer" where its own chains were.
        target: "marginal" climbs log p(x), "class" log p(x, y) of a chain's class; None takes the
            latter with classes, or where training did.
        steps: Langevin steps of a chain; None for as many as in training.
        step_size: Factor of the gradient, in the network's range of images; None for training's.
        noise: Deviation of the noise of a step, in that range; None for training's.
        judge: Checkpoint of a separately trained classifier that says what samples look like.
        out: Folder for the samples as a file of tensors and two pictures; None writes none.
        data: The data set of real images, when not the checkpoint's.
        method: See `load`.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config.
        seed: Decides starts and noise, instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        device: Where to run.
        precision: Arithmetic of chains, instead of the checkpoint's; energies are float32.
        listener: Who is told what happens.

    Raises:
        SslError: If the method learned no density, something does not fit it, or every chain ended
            in values that are not finite.
    """
    _check_word(start, "start", get_args(Start))
    _check_word(target, "target", (None, *get_args(Target)))
    given = run.checkpoint if isinstance(run, Run) else run
    checkpoint = checkpoint_of(given, encoder, preset, listener)
    if method:
        name_code_of(checkpoint, method)
    words = [class_] if isinstance(class_, str | int) else class_
    asked = ask(checkpoint, list(map(str, words)), judge)
    opened = load(
        run if isinstance(run, Run) else checkpoint, data=data, data_root=data_root,
        download=download, seed=seed, device=device, precision=precision, listener=listener,
        overrides=with_sampler(overrides, step_size, noise),
    )  # fmt: skip
    chains = Chains(opened, asked, count=count, start=start, target=target, steps=steps)
    return chains.draw(Path(out) if out else None)


def _check_word(word: str | None, argument: str, known: Sequence[str | None]) -> None:
    if word not in known:
        raise UsageError(f"{word!r} is no {argument}", argument, f"one of {known}")


@dataclass(frozen=True)
class Asked:
    """The request to a model, checked before its data is opened.

    Attributes:
        names: Classes that the model knows; none for one without classes.
        classes: Those that chains are shared out among.
        judge: Who says what samples look like.
    """

    names: tuple[str, ...]
    classes: list[int]
    judge: Judge | None


def ask(checkpoint: Checkpoint, class_: Sequence[str], judge: str | Path | None) -> Asked:
    """Check what is wanted of a model.

    Raises:
        SslError: If it learned no density or has no such class, or the judge does not know them.
    """
    names = _names(checkpoint, need_density(checkpoint).num_classes or 0)
    classes = chosen_classes(class_, names)
    return Asked(names, classes, Judge(str(judge), names) if judge else None)


def _names(checkpoint: Checkpoint, count: int) -> tuple[str, ...]:
    names = class_names(checkpoint)
    return names if len(names) == count else tuple(map(str, range(count)))


class Chains:
    """Langevin chains on a model, planned and then run.

    Args:
        run: Checkpoint and data.
        asked: The checked request, from `ask`.
        count: Chains.
        start: Where they begin.
        target: The density that they climb.
        steps: Of a chain.

    Raises:
        SslError: If these do not go together.
    """

    def __init__(
        self,
        run: Run,
        asked: Asked,
        *,
        count: int,
        start: Start,
        target: Target | None,
        steps: int | None,
    ) -> None:
        self.run, self.asked = run, asked
        judge = asked.judge
        for remark in expect_unseen(judge.checkpoint, run.splits.test) if judge else ():
            run.listener.warn(remark)
        self.model = EnergyModel(run)
        self.plan = make_plan(
            run, self.model, asked.classes, count=count, start=start, target=target, steps=steps
        )
        run.listener.note(str(self.plan))

    def draw(self, out: Path | None) -> SampleResult:
        """Run the chains, measure where they ended, and write that to a folder if there is one."""
        run, plan = self.run, self.plan
        if out:
            need_writable(out)
        devices = [run.device] if run.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(plan.seed)
            ends = self._ends()
        drawn = self._measured(ends)
        real, verdict = self._real_energies(), self._verdict(drawn)
        result = SampleResult(
            **vars(drawn), plan=plan, names=self.asked.names, real=real, verdict=verdict
        )
        if out:
            result = write_samples(result, out, str(run.checkpoint.path), run.listener)
        _say_settled(result.settling, run.listener)
        return result

    def _verdict(self, drawn: Samples) -> Verdict | None:
        """Have another classifier say which class each sample looks like."""
        judge, run = self.asked.judge, self.run
        if judge is None:
            return None
        if judge.checkpoint.path.samefile(run.checkpoint.path):
            run.listener.warn("the judge is the model itself, which says little")
        return judge.ask(drawn.samples, drawn.labels, self.asked.names, run)

    def _ends(self) -> ChainEnds:
        """Draw the starts and run the chains."""
        plan, model, listener = self.plan, self.model, self.run.listener
        if plan.start == "buffer":
            starts, repeated = model.recalled(plan.labels)
            if repeated:
                listener.warn(
                    f"{repeated} chains start where others do: the buffer holds no more images"
                )
        else:
            anything = torch.randint(model.num_classes or 1, plan.labels.shape)
            starts = model.fresh(plan.labels if plan.classes else anything)
        return model.run(starts, plan.climbed, plan.settings, listener.bar("SGLD steps"))

    def _measured(self, ends: ChainEnds) -> Samples:
        """Drop the chains that failed, and measure where the others ended, in float32.

        Raises:
            UnhealthyError: If every chain failed.
        """
        plan, model = self.plan, self.model
        keep = finite_chains(ends.samples, ends.energies)
        failed = int((~keep).sum())
        if failed == len(keep):
            hint = "use a smaller `step_size`, or `overrides` method.sampler.gradient_clamp=0.1"
            if model.precision == "fp16":
                hint = f"fp16 ends at 65,504: take `precision` bf16 or fp32; or {hint}"
            raise UnhealthyError(
                f"all {failed} chains ended in values that are not finite", "", hint
            )
        if failed:
            what = f"{failed} of {len(keep)} chains ended in values that are not finite"
            self.run.listener.warn(f"{what}; left out")
        samples, labels = ends.samples[keep], plan.labels[keep]
        probabilities = model.probabilities(samples) if model.num_classes else None
        if probabilities is not None and not plan.classes:
            labels = probabilities.argmax(dim=1)  # which is how JEM's figures are sorted
        by_class = plan.target == "class"
        return Samples(
            samples=model.to_pixels(samples),
            energies=model.energy(samples, labels if by_class else None),
            log_p=-model.energy(samples),
            labels=labels,
            climbed=labels if by_class else torch.full_like(labels, -1),
            probabilities=probabilities,
            trajectory=ends.energies[:, keep],
            non_finite=failed,
        )

    def _real_energies(self) -> Tensor | None:
        """Return the energies of training images, of the asked classes where chains climb those."""
        run, plan, model = self.run, self.plan, self.model
        source, labels = run.splits.train, run.splits.train.labels
        rows = np.random.default_rng(plan.seed).permutation(len(source))
        if plan.target == "class":
            if labels is not None:
                labels = find_classes(labels, source.class_names, self.asked.names)
            if labels is None or not np.isin(labels, plan.classes).any():
                run.listener.note(f"{source.name} has no images of these classes to compare with")
                return None
            rows = rows[np.isin(labels[rows], plan.classes)]
        rows = np.sort(rows[:REAL_IMAGES])
        part = Subset(source, rows, f"images of {source.name}")
        found, used = [], []
        for images, own in eval_batches(part, run.config.data, model.batch, model.device):
            classes = None if plan.target == "marginal" else torch.as_tensor(labels)[rows][own]
            found.append(model.energy(images, classes))
            used.append(own.cpu())
        run.leave_out(part, torch.cat(used))
        energies = torch.cat(found)
        need_finite(energies, f"energies of {source.name}", "fp32")
        return energies


def _say_settled(found: Settling | None, listener: Listener) -> None:
    if found is None:
        least = f"at least {MIN_STEPS} steps of {MIN_CHAINS} chains"
        listener.note(f"to say whether chains have settled takes {least}")
    elif not found.has_settled:
        way = "fell" if found.drift < 0 else "rose"
        of = f"{abs(found.drift) / found.spread:.2g} of" if found.spread else "beyond"
        listener.warn(
            f"chains have not settled: from the third quarter of the steps to the last their "
            f"energies {way} by {abs(found.drift):.3g} nats in the median, {of} the spread "
            "between chains; run more steps"
        )
