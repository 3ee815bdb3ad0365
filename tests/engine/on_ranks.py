"""What the tests of several processes run in each of them."""

from unittest import mock

import torch
from torch import nn
from toy import Silent, piecewise, toy_training

from sslcli.config.duration import Duration
from sslcli.distributed import collective
from sslcli.distributed.sync_norm import synchronize
from sslcli.engine import device as precision
from sslcli.engine.best import Best
from sslcli.engine.log import Log, Probe
from sslcli.engine.loop import steps, train_step
from sslcli.engine.pace import Pace
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import train

CPU = torch.device("cpu")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def own(whole):
    """Return this rank's share of a batch, as the loader deals it."""
    return whole[collective.rank() :: collective.world_size()]


def gathers():
    local = own(noise(4, 3)).requires_grad_()
    joined = collective.gather_with_gradient(local)
    (joined * noise(4, 3, seed=1) * (1 + collective.rank())).sum().backward()
    return collective.gather(local), joined.detach(), joined.requires_grad, local.grad


def shuffles():
    torch.manual_seed(collective.rank())
    order = collective.permutation(2, CPU)
    dealt = collective.deal(own(noise(4, 3)), order)
    return order, dealt, collective.deal(dealt, order.argsort())


def chosen_precision():
    gain = (2.0, 0.5)[collective.rank()]
    found = Pace((gain, 1.0), (gain, 1.0))
    pace = mock.patch.object(precision, "machine_pace", return_value=found)
    has = mock.patch.object(precision, "has_native_bf16", return_value=True)
    with mock.patch.dict("os.environ"), pace, has:
        del precision.os.environ[precision.VARIABLE]
        return precision.resolve_precision("auto", CPU)


def votes():
    ballot = collective.Ballot()
    mine = [[0, 0, 3, 0], [0, 2, 0, 0]][collective.rank()]
    return [ballot(vote) for vote in mine]


def messages():
    number = collective.rank()
    return collective.from_main(f"from {number}"), collective.from_all(number)


def fails_on_the_second():
    def work():
        if collective.rank() == 1:
            raise OSError(28, "full")

    try:
        collective.together(work)
    except Exception as error:
        return type(error).__name__
    return ""


def normalised(shape, affine, momentum, rows):
    """Return output, gradients and statistics of a synchronised layer on this rank's rows."""
    norm = nn.BatchNorm1d if len(shape) < 4 else nn.BatchNorm2d
    layer = norm(shape[1], affine=affine, momentum=momentum)
    if affine:
        nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(2))
    layer = synchronize(layer.double(), CPU)
    batch = noise(*shape) + 3
    if rows is not None and collective.world_size() > 1:
        batch = batch.split(rows)[collective.rank()]
    elif collective.world_size() > 1:
        batch = own(batch)
    batch = batch.clone().requires_grad_()
    output = layer(batch)
    output.pow(3).sum().backward()
    gradients = {name: value.grad for name, value in layer.named_parameters()}
    return output.detach(), batch.grad, gradients, dict(layer.state_dict())


def logs(folder):
    """Log one step on this rank's own batch; return its loss."""
    training, watcher = toy_training(), Silent()
    log = Log(folder / "metrics.jsonl", watcher)
    batch = list(training.loader.epoch(0))[collective.rank()]
    result = train_step(training, [batch])
    log.add(training, result)
    log.row(training, result)
    log.settle()
    assert log.last["step"] == 1
    assert len(watcher.rows) == (1 if collective.is_main() else 0)
    return result.loss.item()


def ends_early(folder, values):
    """Train with patience on what the first process alone measures; return the last steps."""
    training = toy_training(sync_batch_norm=False)
    training.best = Best("online", 0.1, keeps=True, patience=2)
    probe = Probe(lambda method: {"online": values[training.step]}, Duration("1 steps"))
    train(training, folder, {}, Log(folder / "metrics.jsonl", Silent()), Stop(), probe)
    return training.step, training.best.step, training.best.is_over


def logs_an_epoch(folder, images, plan):
    """Log an epoch of `toy.Pieces` at rest in one row, in one second; return loss and metric."""
    training = piecewise(images, rate=1e-300, **plan)
    folder.mkdir(exist_ok=True)
    with mock.patch("sslcli.engine.log.time") as clock:
        clock.perf_counter.return_value = 0.0
        log = Log(folder / "metrics.jsonl", Silent())
        for batches, _ in zip(steps(training), range(training.steps_per_epoch), strict=False):
            result = train_step(training, batches)
            log.add(training, result)
        clock.perf_counter.return_value = 1.0
        log.row(training, result)
    log.settle()
    return log.last["loss"], log.last["value"], log.last["images_per_second"]
