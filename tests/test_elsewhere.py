"""The tool needs nothing that Linux alone has."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent


@pytest.fixture
def archive(tmp_path):
    """Return an archive of forty small images in two classes."""
    draw = np.random.default_rng(0)
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        for index in range(40):
            made = io.BytesIO()
            Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(made, "png")
            member = tarfile.TarInfo(f"{'ab'[index % 2]}/{index}.png")
            member.size = made.tell()
            tar.addfile(member, io.BytesIO(made.getvalue()))
    return tmp_path / "images.tar"


def test_training_resuming_and_evaluating_need_nothing_that_linux_alone_has(archive, tmp_path):
    words = [sys.executable, str(HERE / "elsewhere.py"), str(archive), str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=HERE.parent, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["4 8", ""]
