"""What a stopped run tells."""

import signal

from sslcli.engine.stop import REASONS, Stop
from sslcli.errors import ExitCode


def test_the_error_names_the_command_that_goes_on():
    stop = Stop(0.0)
    assert "--resume" in stop.error(stop.reason(), 3, "runs/x").hint
    stop.again = "ssl finetune --resume runs/x"
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
