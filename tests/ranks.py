"""Processes that stand ready to run a test's function together, each as one rank under gloo."""

import os
import socket
import traceback
from multiprocessing import get_context


class Ranks:
    """Start processes once and run functions in them; use as a context manager.

    A function must be importable by name; each rank calls it with the same arguments.

    Args:
        size: Number of processes.
    """

    def __init__(self, size):
        context, port = get_context("spawn"), _free_port()
        self.pipes, self.processes = [], []
        for rank in range(size):
            pipe, theirs = context.Pipe()
            work = context.Process(target=_serve, args=(theirs, rank, size, port), daemon=True)
            work.start()
            self.pipes.append(pipe)
            self.processes.append(work)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(10)

    def __call__(self, function, *arguments, **named):
        """Return what each rank returned, by rank; raise AssertionError when one raised."""
        for pipe in self.pipes:
            pipe.send((function, arguments, named))
        answers = [pipe.recv() if pipe.poll(90) else (False, "no answer") for pipe in self.pipes]
        for rank, (is_fine, answer) in enumerate(answers):
            assert is_fine, f"rank {rank}: {answer}"
        return [answer for _, answer in answers]


def _serve(pipe, rank, size, port):
    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in world.items()})
    os.environ.update(
        {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    )
    import torch

    from sslcli import environment
    from sslcli.distributed import launch

    torch.set_num_threads(1)
    with launch.joined(environment.world(), torch.device("cpu")):
        while (task := pipe.recv()) is not None:
            function, arguments, named = task
            try:
                pipe.send((True, function(*arguments, **named)))
            except Exception:
                pipe.send((False, traceback.format_exc()))


def _free_port():
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]
