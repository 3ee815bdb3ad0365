"""`ssl methods`: which papers there are."""

from sslcli.cli import options


def methods(json: options.Json = False) -> None:
    """List the methods and their presets.

    ssl methods
    """
    from sslcli.cli.show import Show
    from sslcli.config.methods.registry import SECTIONS
    from sslcli.config.presets import list_presets

    show = Show("methods", as_json=json)
    rows = []
    for name, section in SECTIONS.items():
        settings = [p.split("/")[1] for p in list_presets() if p.startswith(f"{name}/")]
        if settings:
            rows.append((name, str(section.__doc__).split("\n")[0].rstrip("."), settings))
    show.table("", ("method", "paper", "presets"), [(n, d, ", ".join(s)) for n, d, s in rows])
    show.result(methods=[{"name": n, "paper": d, "presets": s} for n, d, s in rows])
