"""Compare what a training takes with the memory that is free, and change it until it fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from sslcli.config.presets import revise
from sslcli.config.schema import Config
from sslcli.distributed.collective import from_all
from sslcli.engine.loop import Training
from sslcli.errors import ResourceError, SslError
from sslcli.listener import Listener
from sslcli.profile.cost import Cost, Memory, estimate, estimate_memory
from sslcli.profile.free import Free, free_memory
from sslcli.workflows.ways import Stage, Way, spelled

SPARE = 0.9  # share of the free memory that a change of the config leaves a training in
# Bytes over bytes of views or weights, beyond those of any network here: DINO's has 300 a view.
_PER_VALUE, _PER_WEIGHT = 5_000, 50
Planner = Callable[[Config], tuple[Training, int]]  # and how many samples kNN embeds at a time


@dataclass(frozen=True)
class Room:
    """The memory that is free for a training.

    Attributes:
        device: On the device; None when unknown. A CPU's is the host's.
        host: In the host's memory; None when unknown.
        local: Processes of this machine, which share the host's memory.
        is_host: Whether the device has no memory of its own.
    """

    device: Free | None
    host: Free | None
    local: int
    is_host: bool

    def need(self, memory: Memory) -> int:
        """Return the bytes that are compared with `device`, given those of one process."""
        return self.local * memory.total if self.is_host else memory.device

    def shortage(self, memory: Memory, share: float = 1.0) -> tuple[int, Free] | None:
        """Return the bytes that are needed where there are too few, and what is free there.

        Args:
            memory: Of one process.
            share: Share of what is free that may be taken.
        """
        needs = [(self.need(memory), self.device)]
        if not self.is_host:
            needs.append((self.local * memory.host, self.host))
        for need, free in needs:
            if free is not None and need > share * free.nbytes:
                return need, free
        return None


def room_on(device: torch.device, local: int) -> Room:
    """Return the room of a training with `local` processes on this machine.

    Every process of the training calls it and gets the least that any of them finds.
    """
    own, host = _least(free_memory(device)), _least(free_memory(torch.device("cpu")))
    return Room(own, host, local, is_host=device.type != "cuda")


def _least(free: Free | None) -> Free | None:
    known = [each for each in from_all(free) if each is not None]
    return min(known, key=lambda each: each.nbytes, default=None)


@dataclass(frozen=True)
class Outlook:
    """A config, and what training with it takes.

    Attributes:
        config: The config.
        training: Its training, planned; None when it cannot be.
        embedded: Samples that the encoder embeds at a time to be measured on the way.
        room: The free memory.
        stages: The kinds of changes that may make it fit.
        planner: Plans the training of another config on the same data.
        processes: Processes that share each batch.
        unplanned: Why there is no plan; an empty text when there is one.
    """

    config: Config
    training: Training | None
    embedded: int
    room: Room
    stages: Sequence[Stage]
    planner: Planner
    processes: int
    unplanned: str = ""

    @cached_property
    def _estimated(self) -> tuple[Memory | None, str]:
        if self.training is None:
            return None, self.unplanned
        try:
            return estimate_memory(self.training, self.processes, self.embedded), ""
        except SslError:
            raise
        except Exception as error:  # a user's own method may look at values, which a plan has not
            return None, _reason(error)

    @property
    def memory(self) -> Memory | None:
        """What the training takes; None when `unknown` says why nobody can tell."""
        return self._estimated[0]

    @property
    def unknown(self) -> str:
        """Why the memory is unknown; an empty text when it is known."""
        return self._estimated[1]

    @property
    def fits(self) -> bool | None:
        """Whether the training fits; None when that cannot be known."""
        if self.memory is None or self.room.device is None:
            return None
        return self.room.shortage(self.memory) is None

    def cost(self) -> Cost | None:
        """Return what the whole training costs; None when the memory is unknown, too."""
        if self.training is None or self.unknown:
            return None
        return estimate(self.training, self.processes, self.embedded)

    def ways(self) -> list[tuple[Way, int]]:
        """Return the mildest change of each kind that is enough by itself, and the bytes it takes.

        They are those that are compared with the free memory.
        """
        found = (self._first(stage) for stage in self.stages)
        return [(way, after.takes) for way, after in found if after.is_roomy]

    def fitted(self, listener: Listener) -> "Outlook":
        """Return what fits: this, or this with the mildest changes that are enough.

        Where the strongest change of a kind is not enough, it is kept, and the next kind is tried.
        """
        best = self
        for stage in self.stages:
            if best.fits is not False:
                break
            way, after = best._first(stage)
            if after.is_roomy or after.takes < SPARE * best.takes:
                listener.note(f"to fit: {spelled(way)}, {way.means}")
                best = after
        return best

    def check(self, listener: Listener) -> None:
        """Say what is unknown, and raise ResourceError when the training cannot fit."""
        if self._is_tiny():
            return
        if self.memory is None:
            listener.note(f"memory is not checked: what this takes is unknown ({self.unknown})")
        elif self.room.device is None:
            listener.note("memory is not checked: how much is free is unknown")
        elif shortage := self.room.shortage(self.memory):
            need, free = shortage
            left = f"{gib(free.nbytes)} are free {free.whose}"
            what = f"this training takes about {gib(need)} of memory, and {left}"
            raise ResourceError(what, "train.batch_size", self._advice())

    def _advice(self) -> str:
        told = [f"{spelled(way)} ({gib(takes)}; {way.means})" for way, takes in self.ways()]
        if told:
            return f"`fit` chooses, or one of these: {'; '.join(told)}"
        return "no single change is enough: `fit` tries several together"

    def _is_tiny(self) -> bool:
        """Tell whether the training fits by so much that an estimate would be a waste of time."""
        config, free = self.config, self.room.device
        if free is None or self.training is None or config.texts:
            return False
        images = max(config.train.batch_size, self.embedded)
        values = sum(view.count * 3 * view.size**2 for view in config.views)
        weights = sum(p.numel() for p in self.training.method.parameters())
        rough = 4 * (_PER_VALUE * values * images + _PER_WEIGHT * weights)
        return self.room.local * rough < free.nbytes

    @property
    def is_roomy(self) -> bool:
        """Whether the training fits with something to spare."""
        return self.memory is not None and self.room.shortage(self.memory, SPARE) is None

    @property
    def takes(self) -> int:
        """Bytes that are compared with the free memory; 0 when they are unknown."""
        return self.room.need(self.memory) if self.memory else 0

    def _first(self, stage: Stage) -> tuple[Way, "Outlook"]:
        """Return the first way of a kind that fits, or the strongest, with its outlook.

        Ways that look too weak by their share are passed over. Without any way, nothing changes.
        """
        way, best = Way({}, ""), self
        assert self.training, "ways are asked for when it is known what this takes"
        ways = list(stage(self.config, self.training, self.processes))
        likely = [each for each in ways if self._is_likely(each)]
        for each in likely or ways[-1:]:
            after = self._after(each)
            if after is not None:
                way, best = each, after
                if after.is_roomy:
                    break
        return way, best

    def _is_likely(self, way: Way) -> bool:
        memory = self.memory
        assert memory, "ways are asked for when it is known what this takes"
        step, heap = (round(way.share * each) for each in (memory.step, memory.heap))
        guessed = replace(memory, step=max(memory.gradients, step), heap=heap)
        return self.room.shortage(guessed, SPARE) is None

    def _after(self, way: Way) -> "Outlook | None":
        """Return the outlook after a change; None when the config or the method forbids it."""
        try:
            config = way.config or revise(self.config, way.changes)
            after = look(config, self.planner, self.room, self.stages, self.processes)
            return after if after.memory else None
        except SslError:
            return None


def look(
    config: Config, planner: Planner, room: Room, stages: Sequence[Stage], processes: int
) -> Outlook:
    """Return what a training with a config takes.

    Args:
        config: The config.
        planner: Plans its training.
        room: The free memory.
        stages: The kinds of changes that may make it fit.
        processes: Processes that share each batch.

    Raises:
        SslError: If such a training cannot be.
    """
    training, embedded, unplanned = None, 0, ""
    try:
        training, embedded = planner(config)
    except SslError:
        raise
    except Exception as error:  # a user's own method may need values as it is built
        unplanned = _reason(error)
    return Outlook(config, training, embedded, room, stages, planner, processes, unplanned)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def gib(count: int) -> str:
    """Return bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
