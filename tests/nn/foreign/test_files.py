"""Pickles are read without running them; what needs more than tensors and containers is refused."""

import argparse
import collections
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sslcli.errors import CheckpointError
from sslcli.nn.foreign import unpickle
from sslcli.nn.foreign.files import INDEXES, digest_of, read_tensors, weights_file
from sslcli.nn.foreign.unpickle import RefusedError, tensors_in

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3)}


class Code:
    """Runs a command when it is unpickled by anything that runs what it reads."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def containers():
    """Return what training scripts leave beside weights."""
    return {
        "state_dict": WEIGHTS,
        "optimizer": {"state": {0: {"momentum": torch.ones(9)}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=np.float64(0.1), out=Path("runs"), sizes=torch.Size([2])),
        "best": np.float32(0.5),
        "curve": np.arange(3),
        "kind": np.dtype("float32"),
        "seen": collections.defaultdict(list, {"x": [1]}),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "version": torch.__version__,
        "tags": {"a", "b"},
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_plain_containers_are_dropped_and_tensors_kept(tmp_path, zipped):
    file = tmp_path / "w.pth.tar"
    torch.save(containers(), file, _use_new_zipfile_serialization=zipped)
    found = tensors_in(file)
    assert list(found) == ["state_dict.a.weight"]
    assert torch.equal(found["state_dict.a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_pickle_is_named_and_never_run(tmp_path, zipped):
    file, mark = tmp_path / "w.pth", tmp_path / "mark"
    torch.save(
        {"state_dict": WEIGHTS, "x": Code(mark)}, file, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(RefusedError, match=r"posix\.system"):
        tensors_in(file)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_any_other_pickle_is_refused_with_what_it_names(tmp_path, protocol):
    file, mark = tmp_path / "w.pth", tmp_path / "mark"
    file.write_bytes(pickle.dumps(Code(mark), protocol))
    with pytest.raises(RefusedError) as refused:
        tensors_in(file)
    assert "posix.system" in refused.value.what or protocol == 2  # no magic number: no torch file
    assert not mark.exists()


def test_a_whole_network_is_refused_with_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(RefusedError, match=r"its class torch\.nn\.modules\.linear\.Linear") as no:
        tensors_in(tmp_path / "w.pth")
    assert "state_dict()" in no.value.hint


def test_torchscript_and_other_archives_are_refused(tmp_path):
    for member, said in (("x/constants.pkl", "TorchScript"), ("a.txt", "holds no weights")):
        with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
            archive.writestr(member, b"")
        with pytest.raises(RefusedError, match=said):
            tensors_in(tmp_path / "w.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_damaged(tmp_path, zipped, share):
    file = tmp_path / "w.pth"
    torch.save({"state_dict": WEIGHTS}, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(RefusedError, match="damaged, cut off") as refused:
        tensors_in(file)
    assert "again" in refused.value.hint


def test_the_child_passes_tensors_on_and_refusals_back(tmp_path):
    good, bad = tmp_path / "good.pth", tmp_path / "bad.pth"
    torch.save(containers(), good)
    torch.save(torch.nn.Linear(2, 2), bad)
    assert torch.equal(read_tensors(good)["state_dict.a.weight"], WEIGHTS["a.weight"])
    with pytest.raises(CheckpointError, match="whole network") as refused:
        read_tensors(bad)
    assert refused.value.where == str(bad)


def test_a_confined_process_may_do_nothing_else(tmp_path):
    attempts = (
        f"open({str(tmp_path / 'x')!r}, 'w')",
        "__import__('socket').socket()",
        "__import__('os').system('true')",
        "__import__('subprocess').run(['true'])",
        "__import__('os').fork()",
        f"__import__('os').remove({unpickle.__file__!r})",
    )
    code = (
        "import runpy, sys, pathlib\n"
        f"names = runpy.run_path({unpickle.__file__!r}, run_name='no')\n"
        f"names['confine'](pathlib.Path({unpickle.__file__!r}), 60)\n"
        "for attempt in sys.argv[1:]:\n"
        "    try:\n"
        "        exec(attempt)\n"
        "    except PermissionError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *attempts], capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert len(said) == len(attempts), done.stdout
    assert all(line.startswith("reading weights may not do this") for line in said)
    assert Path(unpickle.__file__).exists()
    assert not (tmp_path / "x").exists()


def test_folders_without_weights_and_missing_files_say_what_would_do(tmp_path):
    for path in (tmp_path, tmp_path / "none.pth"):
        with pytest.raises(CheckpointError) as caught:
            weights_file(path)
        assert "Hugging Face folder" in caught.value.hint


def shards(folder, weight_map):
    save_file({"a": torch.ones(2)}, folder / "model-1-of-2.safetensors")
    save_file({"b": torch.zeros(3)}, folder / "model-2-of-2.safetensors")
    (folder / INDEXES[0]).write_text(json.dumps({"weight_map": weight_map}))


def test_weights_in_several_files_are_read_as_one(tmp_path):
    shards(tmp_path, {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"})
    found = read_tensors(tmp_path)
    assert {name: x.tolist() for name, x in found.items()} == {"a": [1, 1], "b": [0, 0, 0]}
    before = digest_of(weights_file(tmp_path))
    save_file({"b": torch.ones(3)}, tmp_path / "model-2-of-2.safetensors")
    assert digest_of(weights_file(tmp_path)) != before


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"a": "model-3-of-3.safetensors"}, "1 of 1 files of weights are missing"),
        ({"a": "../model-1-of-2.safetensors"}, "outside its folder"),
        (["a"], "cannot be understood"),
    ],
)
def test_an_index_that_does_not_fit_its_folder_is_refused(tmp_path, weight_map, said):
    shards(tmp_path, weight_map)
    with pytest.raises(CheckpointError, match=said):
        read_tensors(tmp_path)


@pytest.mark.parametrize("protocol", [4, 5])
def test_weights_of_a_later_protocol_say_how_to_save_them(tmp_path, protocol):
    torch.save(WEIGHTS, tmp_path / "a.pth", pickle_protocol=protocol)
    with pytest.raises(RefusedError, match="protocol 4 or later") as refused:
        tensors_in(tmp_path / "a.pth")
    assert "which is 2" in refused.value.hint
