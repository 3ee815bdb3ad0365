import torch

from sslcli.data.waiting import Waiting


class Moment:
    """What a CUDA event is, on a clock of the test's own."""

    def __init__(self, at, is_over=True):
        self.at, self.is_over = at, is_over

    def query(self):
        return self.is_over

    def elapsed_time(self, other):
        return other.at - self.at


def test_a_host_waits_from_asking_for_a_batch_until_it_comes():
    times = iter([0.0, 2.0, 7.0, 8.0, 9.0])
    waiting = Waiting(torch.device("cpu"), lambda: next(times))
    assert list(waiting.over("ab")) == ["a", "b"]
    assert waiting.seconds == 2.0 + 1.0


def test_a_gpu_waits_by_its_own_clock_and_not_while_it_has_work():
    moments = iter([Moment(0), Moment(30), Moment(90), Moment(90), Moment(200)])
    waiting = Waiting(torch.device("cuda"), lambda: next(moments))
    list(waiting.over("ab"))
    assert waiting.seconds == 0.030


def test_events_that_have_not_passed_are_read_later():
    late = Moment(30, is_over=False)
    moments = iter([Moment(0), late, Moment(90)])
    waiting = Waiting(torch.device("cuda"), lambda: next(moments))
    list(waiting.over("a"))
    assert waiting.seconds == 0
    late.is_over = True
    assert waiting.seconds == 0.030
