"""The `ssl` command: its table of commands, and what becomes of errors."""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from sslcli import __version__
from sslcli.cli import (
    data,
    embed,
    export,
    finetune,
    knn_eval,
    linear_eval,
    methods,
    presets,
    pretrain,
)
from sslcli.errors import ExitCode, ResourceError, SslError, UsageError

app = typer.Typer(name="ssl", no_args_is_help=True, pretty_exceptions_enable=False)
app.command("pretrain")(pretrain.pretrain)
app.command("finetune")(finetune.finetune)
app.command("linear-eval")(linear_eval.linear_eval)
app.command("knn-eval")(knn_eval.knn_eval)
app.command("embed")(embed.embed)
app.command("export")(export.export)
app.add_typer(presets.app, name="presets")
app.command("methods")(methods.methods)
app.add_typer(data.app, name="data")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"sslcli {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Train, evaluate and export representations from papers' recipes.

    Exit codes: 0 done, 1 our fault, 2 wrong use, 3 data, 4 memory, disk or device, 5 a --require
    not met, 6 unhealthy training, 75 stopped with its state saved, 130 Ctrl-C.
    """


def main() -> NoReturn:
    """Run the command line and exit with one of `ExitCode`."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, prog_name="ssl", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else ExitCode.DONE)
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C\n")
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; say nothing more
        sys.exit(ExitCode.DONE)
    except (Exception, RecursionError) as error:
        if debug:
            traceback.print_exc()
        _exit_with(_as_fault(error), as_json="--json" in arguments)


def _exit_with(fault: SslError, *, as_json: bool) -> NoReturn:
    from sslcli.cli.show import show_error

    show_error(fault, as_json=as_json)
    sys.exit(fault.exit_code)


def _as_fault(error: Exception) -> SslError:
    """Turn any exception into one with an exit code; an unforeseen one is logged as our fault."""
    if isinstance(error, SslError):
        return error
    if isinstance(error, typer.TyperException):
        command = " ".join(["ssl", *sys.argv[1:2]])
        return UsageError(error.format_message().rstrip("."), "", f"see: {command} --help")
    if isinstance(error, MemoryError) or "memory" in str(error).lower()[:200]:
        hint = "use a smaller train.batch_size, more train.accumulate, or a smaller encoder"
        return ResourceError(f"out of memory: {str(error).splitlines()[0]}", "", hint)
    from sslcli.cli.show import crash_log

    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    return SslError(
        f"a fault of sslcli's own: {summary}",
        f"the whole story is in {crash_log(text)}",
        "please report it with that file",
    )
