"""A program that trains, resumes and evaluates without what Linux alone has, as Windows would.

Modules of this project get an `os`, a `signal` and a `sys` of another system, and cannot import
what is missing there; other libraries have Windows versions of their own, and are left alone.
"""

import builtins
import importlib
import pkgutil
import sys
from types import ModuleType

ABSENT = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"}
LACKS = {
    "os": {"pread", "pwrite", "getuid", "geteuid", "getloadavg", "sched_getaffinity", "sched_yield",
           "fork", "register_at_fork", "O_NONBLOCK", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC",
           "killpg", "getpgid", "setsid", "mkfifo", "sysconf", "statvfs", "fchmod", "kill"},
    "signal": {"SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGKILL", "SIGALRM", "alarm"},
    "sys": set(),
}  # fmt: skip


class Elsewhere(ModuleType):
    """A standard module as another system has it."""

    def __getattr__(self, name):
        if name in LACKS[self.__name__]:
            raise AttributeError(f"another system has no {self.__name__}.{name}")
        return getattr(importlib.import_module(self.__name__), name)


def leave_linux():
    """Let this project's modules be loaded as they would be on Windows."""
    real, other = builtins.__import__, {name: Elsewhere(name) for name in LACKS}
    other["sys"].platform = "win32"

    def load(name, globals=None, *rest, **named):
        if str((globals or {}).get("__name__", "")).startswith("sslcli"):
            if name in ABSENT:
                raise ImportError(f"another system has no module {name}")
            if name in other:
                return other[name]
        return real(name, globals, *rest, **named)

    builtins.__import__ = load


def load_all():
    """Load every module of this project."""
    for each in pkgutil.walk_packages(importlib.import_module("sslcli").__path__, "sslcli."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)


def work(data, out):
    """Train, resume, evaluate and ask the doctor; print what came of it."""
    import sslcli
    from sslcli.cli.doctor import _checks
    from sslcli.cli.doctor.checkup import checkup

    few = {"train.duration": "2 steps", "train.batch_size": 16, "evaluation.online_every": None}
    sslcli.pretrain(preset="simsiam/digits", data=data, out=out, overrides=few)
    more = {"train.duration": "4 steps"}
    run = sslcli.pretrain(out=out, resume=True, overrides=more)
    print(run.checkpoint.facts["step"], sslcli.knn_eval(run, k=3).n)
    print(*(each.check for each in checkup(_checks(None, "")) if "not be checked" in each.found))


if __name__ == "__main__":
    leave_linux()
    work(*sys.argv[1:])
    load_all()
