"""What a stopped run tells."""

import signal

from sslcli.engine.stop import Stop
from sslcli.errors import ExitCode


def test_the_error_names_the_command_that_goes_on():
    stop = Stop(0.0)
    assert "--resume" in stop.error(3, "runs/x").hint
    stop.again = "ssl finetune --resume runs/x"
    error = stop.error(3, "runs/x")
    assert error.hint == "go on with: ssl finetune --resume runs/x"
    assert error.exit_code == ExitCode.STOPPED


def test_ctrl_c_is_called_by_its_name():
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert "Ctrl-C" in stop.error(3, "runs/x").what
        assert stop.error(3, "runs/x").exit_code == ExitCode.INTERRUPTED
