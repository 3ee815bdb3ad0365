"""`ssl presets`: list, show and copy the papers' recipes."""

from typing import Annotated

from typer import Argument, Option, Typer

from sslcli.cli import options

app = Typer(help="List, show and copy the papers' recipes.", no_args_is_help=True)
Name = Annotated[str, Argument(metavar="PRESET", help="method/setting, such as simsiam/cifar10.")]


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List every preset with its source and what this project measured.

    ssl presets list
    """
    from sslcli.cli.show import Show
    from sslcli.config.presets import list_presets, resolve

    show = Show("presets list", as_json=json)
    found = [(name, resolve(name).config.about) for name in list_presets()]
    columns = ("preset", "what", "published", "measured here")
    show.table("", columns, [(n, a.summary, a.published or "-", a.measured) for n, a in found])
    show.result(presets=[{"name": name, **about.model_dump()} for name, about in found])


@app.command("show")
def show_(name: Name, set_: options.Set = None, json: options.Json = False) -> None:
    """Print a preset with everything it inherits.

    ssl presets show simsiam/cifar10
    """
    from sslcli.cli.show import Show
    from sslcli.config.presets import config_hash, resolve, to_toml

    show = Show("presets show", as_json=json)
    config = resolve(name, None, {}, set_ or []).config
    show.data(to_toml(config))
    show.result(config=config.model_dump(mode="json"), config_hash=config_hash(config))


@app.command("copy")
def copy(
    name: Name,
    target: Annotated[str, Argument(metavar="FILE", help="Where to write it, ending in .toml.")],
    resolved: Annotated[
        bool, Option("--resolved", help="Write out what it inherits instead of extending it.")
    ] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Copy a preset to a file of your own, to change and train with --preset FILE.

    ssl presets copy simsiam/cifar10 mine.toml
    """
    from pathlib import Path

    from sslcli.cli.show import Show
    from sslcli.config.presets import preset_file, resolve, to_toml
    from sslcli.errors import UsageError
    from sslcli.files import write_atomically

    path = Path(target)
    if path.suffix != ".toml":
        raise UsageError("a preset's file ends in .toml", target, f"call it {path.name}.toml")
    if path.exists() and not overwrite:
        raise UsageError("this file exists", target, "choose another name or add --overwrite")
    text = to_toml(resolve(name).config) if resolved else preset_file(name).read_text("utf-8")
    write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8"))
    show = Show("presets copy", as_json=json)
    show.note(f"change it, then: ssl pretrain --preset {target}")
    show.data(target)
    show.result(path=target)
