"""Checkpoints, bare weights and resumable states with damage, loaded the way commands do."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from mutation import HOSTILE_VALUES, damage_bytes, damage_tree, nested
from safetensors.torch import load_file, save_file

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint
from sslcli.engine.state import newest_state, save_state
from sslcli.files import sha256
from sslcli.nn.weights import load_encoder_weights

CPU = torch.device("cpu")
_SMALL = ("encoder.width=8", "method.dim=16", "method.predictor_hidden=4")
_VIT = ("encoder.name=timm:test_vit", "data.image_size=160", "encoder.width=", *_SMALL[1:])
_BASES: list[tuple[bytes, torch.nn.Module]] = []


class Payload:
    """Leave a file behind when unpickled."""

    def __reduce__(self):
        return os.system, ("touch canary",)


def prepare(folder: Path) -> None:
    """Write a sound checkpoint of two encoders and a sound state; import timm."""
    shutil.rmtree(folder / "sound", ignore_errors=True)
    for overrides in (_SMALL, _SMALL, _SMALL, _VIT):
        config = resolve("simsiam/digits", overrides=overrides).config
        method = assemble.build_method(config)
        facts = {"step": 3, "epoch": 0.5, "data": {"name": "digits"}, "metrics": {"loss": -0.5}}

        def write(path, method=method, config=config, facts=facts):
            save_checkpoint(path, method.state_dict(), config, facts)

        shared = {"optimizer": {"0.momentum": torch.ones(9)}}
        local = {"random.cpu": torch.get_rng_state()}
        save_state(folder / "sound", 3, write, shared, local, {"optimizer": {}}, keep=1)
        _BASES.append(((folder / "sound" / "checkpoint.safetensors").read_bytes(), method.encoder))


def ways(seed: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Write the checkpoint and the state of this seed; return how they are loaded."""
    random = Random(seed)
    data, encoder = random.choice(_BASES)
    kind = random.choice(
        (
            _bytes,
            _head,
            _lie,
            _entries,
            _entries,
            _described,
            _described,
            _described,
            _strange,
            _values,
        )
    )
    path = folder / "mutated.safetensors"
    path.unlink(missing_ok=True)
    path.write_bytes(kind(data, random, folder))
    if random.random() < 0.02:
        os.truncate(path, 2**33)  # a file of holes, larger than the memory allowed
    _write_state(folder / "run", folder / "sound", path, random)
    return {
        "checkpoint": lambda: assemble.load_encoder(load_checkpoint(path), CPU),
        "weights": lambda: load_encoder_weights(encoder, path),
        "state": lambda: _load_state(folder / "run"),
    }


def _load_state(run: Path) -> None:
    state, _ = newest_state(run)
    for name in ("model", "optimizer", "rank-0"):
        state.tensors(name)


def _bytes(data: bytes, random: Random, folder: Path) -> bytes:
    return damage_bytes(data, random)


def _head(data: bytes, random: Random, folder: Path) -> bytes:
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return damage_bytes(data[:end], random) + data[end:]


def _lie(data: bytes, random: Random, folder: Path) -> bytes:
    """Say another length of the header than it has."""
    length = struct.unpack("<Q", data[:8])[0]
    lies = (
        0,
        1,
        2,
        length - 1,
        length + 1,
        length * 2,
        len(data) - 8,
        len(data),
        10**8,
        10**8 + 1,
        2**31,
        2**40,
        2**63 - 1,
        2**63,
        2**64 - 8,
        2**64 - 1,
    )
    return struct.pack("<Q", random.choice(lies)) + data[8:]


def _entries(data: bytes, random: Random, folder: Path) -> bytes:
    """Change what the header says of tensors: type, shape, place, name, number."""
    header, body = _parted(data)
    for _ in range(random.randint(1, 3)):
        name = random.choice([key for key in header if key != "__metadata__"])
        change = random.choice(("dtype", "shape", "offsets", "drop", "rename", "copy", "tree"))
        entry = header[name]
        if change == "dtype":
            entry["dtype"] = random.choice(("F64", "BF16", "I8", "BOOL", "F8_E4M3", "C64", "X", 3))
        elif change == "shape":
            entry["shape"] = random.choice(
                ([], [0], [2**62, 4], [-1], [2**31] * 3, entry["shape"][::-1], [1] * 900)
            )
        elif change == "offsets":
            entry["data_offsets"] = random.choice(
                ([0, 2**63], [8, 0], [-8, 0], [0], [0, 2**31], [0.5, 1])
            )
        elif change in ("drop", "rename"):
            taken = header.pop(name)
            if change == "rename":
                header[random.choice(("../../canary", "", "encoder.", "\0", name * 999))] = taken
            if not any(key != "__metadata__" for key in header):
                break
        elif change == "copy":
            header[name + ".copy"] = dict(entry)
        else:
            damage_tree(header, random)
            break
    return _joined(header, body)


def _described(data: bytes, random: Random, folder: Path) -> bytes:
    """Change the description that rebuilds the model."""
    header, body = _parted(data)
    described = json.loads(header["__metadata__"]["sslcli"])
    part = random.choice(("config", "config", "config", "facts", "all", "raw", "encoder"))
    if part == "encoder":
        described["config"]["encoder"]["width"] = random.choice((1, 64, 2_048, 65_536, 2**31))
        described["config"]["encoder"]["name"] = random.choice(
            (
                "resnet8",
                "resnet1202",
                "resnet9998",
                "resnet152",
                "wide_resnet101_2",
                "resnet18",
                "timm:vit_base_patch16_224",
                "timm:local-dir:.",
                "timm:hf-hub:nobody/canary",
            )
        )
    elif part in ("config", "facts"):
        damage_tree(described[part], random)
    elif part == "all":
        damage_tree(described, random)
    text = _json(described)
    if part == "raw":
        text = random.choice(
            (
                _json(nested(100_000, random)),
                "[" * 100_000,
                "",
                "null",
                "1",
                "{}",
                '"' + "x" * 100_000,
                damage_bytes(text.encode(), random).decode("utf-8", "replace"),
            )
        )
    header["__metadata__"]["sslcli"] = text
    return _joined(header, body)


def _strange(data: bytes, random: Random, folder: Path) -> bytes:
    """Put something else under the name of a checkpoint; some of it runs when unpickled."""
    torch.save({"encoder": Payload()}, folder / "zip")
    torch.save(Payload(), folder / "old", _use_new_zipfile_serialization=False)
    pickles = [(folder / name).read_bytes() for name in ("zip", "old")]
    pickles += [pickle.dumps(Payload(), protocol) for protocol in (0, 2, 4)]
    return random.choice((
        *pickles, b"", b"\0", b"\0" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\x80", b"PK\x03\x04", b"{}",
        data[:8], data + b"tail", data * 2, b"\x89HDF\r\n\x1a\n",
        b"GGUF", b"#!/bin/sh\ntouch canary\n",
        struct.pack("<Q", 100_000) + b"[" * 100_000, struct.pack("<Q", 90_000) + b" " * 90_000,
    ))  # fmt: skip


def _values(data: bytes, random: Random, folder: Path) -> bytes:
    """Change the tensors themselves: not finite, another shape or type, more or fewer of them."""
    (folder / "sound.safetensors").write_bytes(data)
    tensors = load_file(folder / "sound.safetensors")
    name = random.choice(list(tensors))
    tensor = tensors.pop(name)
    change = random.choice(
        (
            lambda: tensor.float() * float("nan"),
            lambda: tensor.float() + float("inf"),
            lambda: tensor.unsqueeze(0),
            lambda: tensor.flatten()[:0],
            lambda: tensor.bool(),
            lambda: tensor.double(),
            lambda: tensor.to(torch.int8),
            lambda: tensor.bfloat16(),
            lambda: torch.complex(tensor.float(), tensor.float()),
        )
    )
    if random.random() < 0.8:
        tensors[random.choice((name, name, name, f"encoder.{name}", "canary"))] = change()
    header, _ = _parted(data)
    save_file(tensors, folder / "sound.safetensors", metadata=header["__metadata__"])
    return (folder / "sound.safetensors").read_bytes()


def _write_state(run: Path, sound: Path, model: Path, random: Random) -> None:
    """Make a run's states of the mutated model, or of a mutated description."""
    shutil.rmtree(run, ignore_errors=True)
    folder = run / "state" / "step-00000003"
    shutil.copytree(sound / "state" / "step-00000003", folder)
    if random.random() < 0.3:
        shutil.copytree(folder, run / "state" / random.choice(("step-00000002", "step-x", "step-")))
    description = folder / "state.json"
    described = json.loads(description.read_text())
    kind = random.choice(("model", "model with its sum", "bytes", "tree", "name", "raw"))
    if kind.startswith("model") and model.stat().st_size < 2**30:
        shutil.copyfile(model, folder / "model.safetensors")
        if "sum" in kind:
            described["sha256"]["model.safetensors"] = sha256(model)
    elif kind == "tree":
        damage_tree(described, random)
    elif kind == "name":
        strange = (
            "/dev/zero",
            "/dev/stdin",
            "../../../canary",
            "/etc/passwd",
            "",
            ".",
            "a\0b",
            "x" * 5_000,
        )
        described["sha256"] = {random.choice(strange): "0" * 64, **described["sha256"]}
    description.write_text(_json(described))
    if kind == "bytes":
        description.write_bytes(damage_bytes(description.read_bytes(), random))
    elif kind == "raw":
        described = random.choice((*HOSTILE_VALUES, nested(100_000, random)))
        description.write_text(_json(described))


def _parted(data: bytes) -> tuple[dict, bytes]:
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), data[end:]


def _joined(header: dict, body: bytes) -> bytes:
    text = _json(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def _json(tree) -> str:
    """Write JSON of any depth; the standard writer stops at Python's own."""
    try:
        return json.dumps(tree)
    except (RecursionError, ValueError):
        return '{"config": ' + "[" * 100_000 + "]" * 100_000 + "}"
