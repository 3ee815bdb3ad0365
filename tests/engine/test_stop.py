"""What a stopped run tells."""

import signal
import threading

import pytest

from sslcli.engine.stop import REASONS, Stop, seconds
from sslcli.errors import ExitCode, UsageError


def test_the_error_tells_how_to_go_on():
    stop = Stop(0.0)
    assert "resume=True" in stop.error(stop.reason(), 3, "runs/x").hint
    stop = Stop(0.0, lambda run: f"ssl finetune --resume {run}")
    error = stop.error(stop.reason(), 3, "runs/x")
    assert error.hint == "go on with: ssl finetune --resume runs/x"
    assert error.exit_code == ExitCode.STOPPED


def test_ctrl_c_is_called_by_its_name():
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert "Ctrl-C" in stop.error(stop.reason(), 3, "runs/x").what
        assert stop.error(stop.reason(), 3, "runs/x").exit_code == ExitCode.INTERRUPTED


def test_a_reason_is_one_that_processes_can_vote_on():
    assert Stop(0.0).reason() in REASONS
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        with Stop() as stop:
            signal.raise_signal(number)
            assert stop.reason() in REASONS


def test_another_thread_trains_without_handlers():
    before, during = signal.getsignal(signal.SIGINT), []

    def train():
        with Stop(0.0) as stop:
            during.extend([signal.getsignal(signal.SIGINT), stop.reason()])

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert during == [before, "the time limit"]


@pytest.mark.parametrize(
    ("limit", "length"),
    [(None, None), (90.0, 90), ("90s", 90), ("1d2h3m4s", 93_784), (" 45m ", 2_700)],
)
def test_a_time_limit_is_a_text_or_a_number_of_seconds(limit, length):
    assert seconds(limit) == length


@pytest.mark.parametrize("limit", ["", "3x", "-1s", "10"])
def test_what_is_no_time_is_wrong_use(limit):
    with pytest.raises(UsageError, match="no length of time"):
        seconds(limit)
