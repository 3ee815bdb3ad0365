"""The documents name what there is and nothing that is not, with the figures of the presets."""

import re
import shlex
from pathlib import Path
from statistics import mean, stdev

import pytest
import typer

from sslcli.cli.app import app
from sslcli.config.presets import list_presets, resolve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = (ROOT / "examples" / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"]


def commands():
    """Return each command's words and its click command."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        for child, grandchild in getattr(command, "commands", {}).items():
            yield f"ssl {name} {child}", grandchild
        if not hasattr(command, "commands"):
            yield f"ssl {name}", command


def test_every_command_and_preset_is_named():
    for words, _ in commands():
        group = words.split()
        assert words in README or (f"ssl {group[1]} " in README and group[-1] in README), words
    for preset in list_presets():
        assert preset in README, preset


def test_every_command_line_uses_options_that_exist():
    known = dict(commands())
    text = "".join(file.read_text() for file in DOCUMENTS)
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    blocks = [block for language, block in fenced if not language]
    checked = 0
    for line in [line for block in blocks for line in block.split("\n")]:
        words = (
            shlex.split(line.removeprefix("$ "), comments=True)
            if line.startswith(("ssl ", "$ ssl "))
            else []
        )
        if not words:
            continue
        name = " ".join(words[:3]) if " ".join(words[:3]) in known else " ".join(words[:2])
        flags = {flag for parameter in known[name].params for flag in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= flags, line
        checked += 1
    assert checked >= 5


def headings(text):
    """Return the anchors that GitHub gives to the headings of a document."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_every_link_leads_somewhere(file):
    text = file.read_text()
    for link in re.findall(r"\]\((?!https?:)(.*?)\)", text):
        path, _, anchor = link.partition("#")
        target = file.parent / path if path else file
        assert target.exists(), link
        assert not anchor or anchor in headings(target.read_text()), link


def test_every_file_named_in_contributing_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:sslcli|tests|examples|presets)/[\w/.]+)`", text)
    missing = [name for name in named if "my_" not in name and not (ROOT / name).exists()]
    assert len(named) > 10
    assert not missing


def measured(preset):
    return resolve(preset).config.about.measured


def test_main_figures_are_those_of_the_tables():
    table = README.split("| what | figure |")[1].split("\n\n")[0]
    figures = re.findall(r"\| ([\d.]+(?: \S+)?) \|$", table, re.M)
    assert len(figures) == 5
    for figure in figures:
        assert re.search(rf"\| {re.escape(figure)}[ ;|]", EXAMPLES), figure


def test_digits_figures_are_those_of_the_presets():
    rows = re.findall(r"`([\w-]+/digits)`.* \| ([\d.]+) \| ([\d.]+) \|$", README, re.M)
    assert len(rows) == 15
    for preset, knn, linear in rows:
        assert measured(preset).startswith(f"kNN {knn} %, linear {linear} %"), preset


def test_cifar10_figures_are_those_of_the_presets():
    rows = re.findall(r"^\| ([\w-]+) \| \d+ \| ([\d.]+)% \| ([\d.]+)% \|", EXAMPLES, re.M)
    assert len(rows) == 16
    for method, knn, linear in rows:
        preset = f"{method}/cifar10-small" + ("-ssl" if method == "supervised" else "")
        assert measured(preset).startswith(f"kNN {knn} %, linear {linear} %"), preset


def test_energy_figures_are_those_of_the_presets():
    number = r"([\d.]+)(?: ± ([\d.]+))?"
    row = rf"^\| ([\w-]+) \| \d \| {number} \| {number} \| \d+ \|$"
    for setting, text in zip(
        ("digits", "cifar10-small"), EXAMPLES.split("### CIFAR-10 at 16 px"), strict=True
    ):
        rows = re.findall(row, text, re.M)
        assert len(rows) == 5
        for method, *figures in rows:
            said = re.match(
                r"top-1[a-z ]* ([\d., ]+) % and ECE \(20 bins\) ([\d., ]+) %",
                measured(f"{method}/{setting}"),
            )
            for seeds, middle, spread in zip(
                said.groups(), figures[::2], figures[1::2], strict=True
            ):
                values = [float(value) for value in seeds.split(", ")]
                assert mean(values) == pytest.approx(float(middle), abs=0.1), method
                if spread:
                    assert stdev(values) == pytest.approx(float(spread), abs=0.1), method
