"""The `ssl` command: the table of its commands, and its handling of errors."""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from sslcli import __version__
from sslcli.cli import (
    attention,
    bench,
    calibrate,
    data,
    distill,
    doctor,
    embed,
    export,
    finetune,
    import_weights,
    knn_eval,
    linear_eval,
    map,
    methods,
    neighbours,
    ood_detect,
    presets,
    pretrain,
    retrieval_eval,
    robust_eval,
    sample_sgld,
    sts_eval,
    zero_shot_eval,
)
from sslcli.cli.streams import LostOutputError, open_streams, silence
from sslcli.errors import ExitCode, UsageError

app = typer.Typer(name="ssl", no_args_is_help=True, pretty_exceptions_enable=False)
app.command("pretrain")(pretrain.pretrain)
app.command("finetune")(finetune.finetune)
app.command("distill")(distill.distill)
app.command("linear-eval")(linear_eval.linear_eval)
app.command("knn-eval")(knn_eval.knn_eval)
app.command("zero-shot-eval")(zero_shot_eval.zero_shot_eval)
app.command("retrieval-eval")(retrieval_eval.retrieval_eval)
app.command("sts-eval")(sts_eval.sts_eval)
app.command("calibrate")(calibrate.calibrate)
app.command("ood-detect")(ood_detect.ood_detect)
app.command("robust-eval")(robust_eval.robust_eval)
app.command("sample-sgld")(sample_sgld.sample_sgld)
app.command("embed")(embed.embed)
app.command("neighbours")(neighbours.neighbours)
app.command("map")(map.map)
app.command("attention")(attention.attention)
app.command("export")(export.export)
app.command("import")(import_weights.import_weights)
app.add_typer(presets.app, name="presets")
app.command("methods")(methods.methods)
app.add_typer(data.app, name="data")
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)


def _version(value: bool) -> bool:
    if value:
        typer.echo(f"sslcli {__version__}")
        raise typer.Exit
    return value


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

    Exit codes: 0 done; 1 a fault of ours; 2 wrong use; 3 data; 4 memory, disk or device;
    5 a --require not met; 6 unhealthy training; 75 stopped with its state saved; 130 Ctrl-C.
    """


def main() -> NoReturn:
    """Run the command line and exit with one of `ExitCode`."""
    open_streams()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(_run(arguments))
    except BrokenPipeError:
        pass
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
    # Whoever read our output has gone: say nothing more, not even while Python shuts down.
    silence(1)
    sys.exit(ExitCode.DONE)


def _run(arguments: list[str]) -> int:
    """Run a command line, show any fault, and return the exit code."""
    try:
        _expect_text(arguments)
        code = app(arguments, prog_name="ssl", standalone_mode=False) or ExitCode.DONE
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        return _show_fault(error, _command(arguments), as_json="--json" in arguments)
    if code == ExitCode.INTERRUPTED:
        sys.stderr.write("stopped by Ctrl-C; nothing more was saved\n")
    return int(code)


def _expect_text(arguments: list[str]) -> None:
    """Raise UsageError when an argument is no UTF-8: no config, checkpoint or JSON can hold it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            hint = "rename it, or name a link to it: ln -s"
            raise UsageError("the name is no text in UTF-8", argument, hint) from error


def _command(arguments: list[str]) -> str:
    """Return the command that a line names, such as "presets list"; an empty text if none."""
    group, names = typer.main.get_command(app), []
    for word in arguments:
        found = getattr(group, "commands", {}).get(word)
        if found is None:
            break
        group = found
        names.append(word)
    return " ".join(names)


def _show_fault(error: Exception, command: str, *, as_json: bool) -> int:
    from sslcli.cli.faults import as_fault, tell

    fault = as_fault(error)
    if not fault.what:  # a group of commands without one has shown its help, and has none
        return fault.exit_code
    try:
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        as_json = as_json and not isinstance(fault, LostOutputError)
        return tell(fault, command=command, as_json=as_json)
    except (OSError, LostOutputError):  # it cannot be told, so the exit code has to say it
        silence(1, 2)
        return fault.exit_code
    finally:
        if isinstance(fault, LostOutputError):
            silence(1)
