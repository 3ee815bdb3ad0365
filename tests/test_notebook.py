"""The notebook and the README's Python tour run as they are printed."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())


def run_here(sources, folder, monkeypatch, capsys):
    """Run pieces of code after each other in a folder; return what they print."""
    monkeypatch.chdir(folder)
    scope: dict = {"__name__": "__main__"}
    for source in sources:
        exec(source, scope)
    return capsys.readouterr().out


def test_the_notebook_is_of_the_format_and_keeps_no_output():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert {cell["cell_type"] for cell in NOTEBOOK["cells"]} == {"markdown", "code"}
    names = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(names)) == len(names)
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_every_cell_of_the_notebook_runs(tmp_path, monkeypatch, capsys):
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    printed = run_here(sources, tmp_path, monkeypatch, capsys)
    assert "knn against interpolation: AUROC " in printed
    assert (tmp_path / "runs" / "notebook" / "encoder-pt2.pt2").exists()


@pytest.mark.slow
def test_the_python_tour_of_the_readme_runs_as_printed(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text().split("## From Python")[1]
    (code,) = re.findall(r"```python\n(.*?)```", text.split("\n## ")[0], re.S)
    printed = run_here([code], tmp_path, monkeypatch, capsys)
    assert "(1, 128) 128" in printed
    assert (tmp_path / "digits.npz").exists()
