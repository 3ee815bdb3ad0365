import numpy as np
import pytest
from PIL import Image

from sslcli.data.sources.base import ArraySource
from sslcli.data.sources.few import labelled_share, listed
from sslcli.data.sources.open import open_source
from sslcli.errors import DataError


@pytest.fixture
def source(tmp_path):
    for name in ("cats/1.png", "cats/2.png", "dogs/1.png", "dogs/a 3.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photos" / name)
    return open_source(str(tmp_path / "photos"), part=None)


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "list.txt").write_text(text)
        return str(tmp_path / "list.txt")

    return write


def test_names_and_paths_are_matched_with_the_files_of_the_data(source, write):
    found = listed(source, write("a 3.png\n\ncats/1.png\r\n./2.png\na 3.png\n"))
    described = [found.describe(row).rsplit("/photos/")[-1] for row in range(len(found))]
    assert described == ["cats/1.png", "cats/2.png", "dogs/a 3.png"]
    assert found.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "what"),
    [("2.png\n9.png\n8.png", "2 of 3 listed names are not among .*: 9.png, 8.png"),
     ("1.png\n2.png", "1 of 2 listed names are of several images: 1.png"),
     ("s/2.png", "1 of 1 listed names are not"), ("\n", "is empty")],
)  # fmt: skip
def test_names_that_fit_no_image_or_several_are_counted(text, what, source, write):
    with pytest.raises(DataError, match=what) as caught:
        listed(source, write(text))
    assert caught.value.hint


def test_a_list_that_cannot_be_read_is_told(source, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("absent.txt", ".", "binary"):
        with pytest.raises(DataError, match="cannot be read"):
            listed(source, str(tmp_path / name))


classes = np.random.default_rng(1).permutation(np.repeat([0, 1, 3], [1, 17, 50]))


def share(fraction, seed):
    """Return the rows kept of 68 images, one by one in the first channel."""
    pixels = np.zeros((len(classes), 3, 1, 1), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(classes))
    source = ArraySource("pictures", pixels, classes, ("a", "b", "c", "d"))
    kept = labelled_share(source, fraction, seed)
    return [int(kept.load(row)[0, 0, 0]) for row in range(len(kept))]


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 5])
def test_a_share_of_the_labels_is_what_it_has_always_been(fraction, seed):
    generator, expected = np.random.default_rng(seed), []
    for label in (0, 1, 3):
        rows = generator.permutation(np.flatnonzero(classes == label))
        expected += rows[: max(1, round(fraction * len(rows)))].tolist()
    assert share(fraction, seed) == sorted(expected)
