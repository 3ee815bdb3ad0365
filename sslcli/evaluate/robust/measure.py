"""Measure accuracy under many conditions on the same images, which are decoded once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from sslcli.errors import DataError
from sslcli.evaluate.robust.autoattack import QUERIES, AutoAttack
from sslcli.evaluate.robust.corruptions import SEVERITIES, Corruption, corrupt
from sslcli.evaluate.robust.defence import Defence
from sslcli.evaluate.robust.draws import Draws
from sslcli.nn.modes import evaluating
from sslcli.perturb.adversarial import Adversarial, Attack, search
from sslcli.perturb.ball import Ball, Norm

_STARTS = {"linf": 331, "l2": 332}  # streams of the counter
Told = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class Condition:
    """A change of images, at one or more strengths.

    Attributes:
        names: One a strength, as metrics have them.
        run: Takes images [B, 3, S, S] of [0, 1], labels [B] and rows [B]; returns whether they are
            classified rightly at each strength, [names, B] bool.
        passes: Of an image through the network, about; an attack stops early where it succeeds.
    """

    names: Sequence[str]
    run: Callable[[Tensor, Tensor, Tensor], Tensor]
    passes: int = 1


@dataclass(frozen=True)
class PGD:
    """One norm's attacks, from the smallest radius to the largest.

    Attributes:
        norm: "linf" or "l2".
        radii: In units of [0, 1], rising.
        steps: Of each restart.
        step: Length of a step, as a share of the radius.
        restarts: Random starts.
        seed: Decides them, with each image's row.
    """

    norm: Norm
    radii: Sequence[float]
    steps: int
    step: float
    restarts: int
    seed: int

    def withstood(
        self, defence: Defence, images: Tensor, labels: Tensor, rows: Tensor, standing: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield whether images are still classified rightly, [B] bool, at each radius.

        What a radius breaks, every larger one does: the image found lies in its ball too.
        `standing` says which are classified rightly without attack, [B] bool. Beside each comes
        which of the attacked images it held without a gradient to go by, [attacked] bool.
        """
        for radius in self.radii:
            left = standing.nonzero()[:, 0]
            standing = standing.clone()
            found = self._search(defence, images[left], labels[left], rows[left], radius)
            standing[left] = ~found.is_broken
            yield standing, found.is_stuck & ~found.is_broken

    def _search(
        self, defence: Defence, images: Tensor, labels: Tensor, rows: Tensor, radius: float
    ) -> Adversarial:
        draws, values = Draws(self.seed, rows, _STARTS[self.norm]), images.shape[1:].numel()
        attack = Attack(Ball(self.norm, radius), self.steps, self.step * radius, self.restarts)
        return search(
            defence, images, labels, lambda restart: draws.uniform(restart, values), attack
        )


def attack_condition(
    defence: Defence,
    names: Sequence[str],
    attacks: Sequence[PGD],
    told: Told = lambda name, is_stuck: None,
) -> Condition:
    """Return the condition of no attack, then of each attack's radii.

    Args:
        defence: The classifier.
        names: Of no attack, then of all radii of each attack.
        attacks: What to try.
        told: Called for each batch with an attack's name and which of the images that it attacked
            it failed to break after it met a gradient of 0, [attacked] bool.
    """

    def run(images: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        standing = ~defence.errs(images, labels)
        held = [standing]
        tried = (each.withstood(defence, images, labels, rows, standing) for each in attacks)
        for name, (left, is_stuck) in zip(names[1:], chain.from_iterable(tried), strict=True):
            held.append(left)
            told(name, is_stuck)
        return torch.stack(held)

    searches = sum(len(each.radii) * each.restarts * each.steps for each in attacks)
    return Condition(names, run, 1 + searches * defence.replicas)


def autoattack_condition(defence: Defence, name: str, attack: AutoAttack) -> Condition:
    """Return the condition of one AutoAttack."""

    def run(images: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        return attack.withstood(defence, images, labels)[None]

    return Condition([name], run, QUERIES)


def corruption_condition(corruption: Corruption, defence: Defence, seed: int) -> Condition:
    """Return the condition that spoils images at severities 1 to 5."""
    severities = range(1, SEVERITIES + 1)

    def run(images: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        spoilt = (corrupt(images, corruption, severity, rows, seed) for severity in severities)
        return torch.stack([~defence.errs(each, labels) for each in spoilt])

    return Condition([f"{corruption.name}/{severity}" for severity in severities], run, SEVERITIES)


def measure(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    labels: Tensor,
    conditions: Sequence[Condition],
    seed: int,
    progress: Callable[[str, int], None] = lambda name, images: None,
) -> dict[str, np.ndarray]:
    """Return for each name of the conditions which images are classified rightly, [N] bool.

    The network is in evaluation mode meanwhile. Noise of a random defence depends on seed,
    condition and batch, so that no condition changes another's numbers.

    Args:
        network: Whose mode to keep.
        batches: Images in [0, 1] and their rows.
        labels: The right class of each row, on any device.
        conditions: What to try.
        seed: Decides the noise.
        progress: Called after each condition with its last name and the number of images.

    Raises:
        DataError: If there is no image.
    """
    right: dict[str, list[np.ndarray]] = {name: [] for each in conditions for name in each.names}
    with evaluating(network), torch.random.fork_rng():
        for images, rows in batches:
            rows = rows.to(images.device)
            known = labels.to(images.device)[rows]
            for condition in conditions:
                torch.manual_seed(_noise_seed(seed, condition.names[0], int(rows[0])))
                held = condition.run(images, known, rows).cpu().numpy()
                for name, each in zip(condition.names, held, strict=True):
                    right[name].append(each)
                progress(condition.names[-1], len(rows))
    if not any(right.values()):
        raise DataError("there is no image to test")
    return {name: np.concatenate(parts) for name, parts in right.items()}


def _noise_seed(seed: int, name: str, row: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{name}/{row}".encode(), digest_size=7).digest())
