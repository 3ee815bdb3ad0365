"""`ssl bench`: where the time of a training step goes on this machine."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from sslcli.cli import options

if TYPE_CHECKING:
    from sslcli.config.schema import Config


def bench(
    method: options.Method = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    steps: Annotated[
        int | None,
        Option(
            "--steps",
            min=3,
            help="Steps timed of each phase.",
            show_default="as many as 8 seconds hold, 3 to 30",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Time the phases of a training step, one by one and in the loop, and name the bottleneck.

    Nothing is kept of what is trained. Times are medians; every image of a step counts once,
    however many views it has.

    ssl bench --method simsiam --data photos/
    """
    from sslcli.cli.show import Show
    from sslcli.cli.timing import time_and_show
    from sslcli.workflows.choose import fields_of, resolved

    show = Show("bench", as_json=json, quiet=quiet)
    fields = fields_of(data=data, data_root=data_root, download=download, precision=precision)
    found = resolved(method, preset, config, fields, set_ or [], device, show)
    time_and_show(_endless(found.config), device, steps, show)


def _endless(config: "Config") -> "Config":
    """Return the config with a duration that no timing comes to the end of.

    Raises:
        UsageError: If it needs a checkpoint, or this is one of several processes.
    """
    from sslcli.config.duration import Duration
    from sslcli.environment import world
    from sslcli.errors import UsageError

    if config.method.from_checkpoint:
        hint = "time the method that made the checkpoint"
        raise UsageError(f"a {config.method.name} run needs a checkpoint", "method.name", hint)
    if (size := world().size) > 1:
        hint = "start it without torchrun or srun"
        raise UsageError(f"bench times one process, and this is one of {size}", "RANK", hint)
    train = config.train.model_copy(update={"duration": Duration("1000000 epochs")})
    return config.model_copy(update={"train": train})
