import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from sslcli.config.data import DataConfig


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keep every test's cache to itself."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SSL_CACHE", str(folder))
    return folder


@pytest.fixture
def encode():
    """Return a function from a seed to an encoded image, noise by default."""

    def encoded(seed=0, size=(8, 8), form="PNG"):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def write_files(encode):
    """Return a function that writes files, by path, of bytes or of the image of a seed."""

    def write(root, files):
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else encode(content)
            (root / path).write_bytes(data)
        return root

    return write


@pytest.fixture
def write_tar(encode):
    """Return a function that writes an archive of members as `write_files` writes files."""

    def write(path, members, form=tarfile.PAX_FORMAT):
        with tarfile.open(path, "w", format=form) as archive:
            for name, content in members.items():
                data = content if isinstance(content, bytes) else encode(content)
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def options():
    """Return a function that makes a DataConfig of 8 px images."""

    def make(**changes):
        fixed = {"image_size": 8, "mean": (0.5,) * 3, "std": (0.25,) * 3, "workers": 0}
        return DataConfig(**(fixed | changes))

    return make
