"""A built wheel carries its presets."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_a_wheel_unpacked_elsewhere_finds_its_presets(tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, 'site')\n"
        "import sslcli; assert 'site' in sslcli.__file__\n"
        "from sslcli.config.presets import list_presets, resolve\n"
        "assert all(resolve(name).config.method for name in list_presets())\n"
        "print(*list_presets())"
    )
    words = [sys.executable, "-c", code]
    listed = subprocess.check_output(words, cwd=tmp_path, text=True).split()
    shipped = {path.relative_to(ROOT / "presets") for path in (ROOT / "presets").rglob("*.toml")}
    expected = sorted(str(p.with_suffix("")) for p in shipped if not str(p).startswith("_base"))
    assert listed == expected
