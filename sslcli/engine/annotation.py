"""Add facts to the description of a checkpoint that is already written."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslcli.files import to_json, write_atomically


def annotate_checkpoint(path: Path, facts: Mapping[str, Any]) -> None:
    """Add facts to a checkpoint's description; its tensors stay byte for byte what they are.

    A new file takes the old one's name. The state that shared the old file keeps it, with its
    checksum. A run that resumes from that state writes checkpoints without these facts, since facts
    about some weights do not hold for others.

    Args:
        path: A file that `load_checkpoint` accepts.
        facts: JSON values; a fact of the same name is replaced.

    Raises:
        ResourceError: If the new file cannot be written; the old one is then intact.
    """
    path = path.resolve()  # a link keeps pointing at the checkpoint
    write_atomically(path, lambda temporary: _rewrite(path, temporary, facts))


def _rewrite(path: Path, temporary: Path, facts: Mapping[str, Any]) -> None:
    """Copy a safetensors file: 8 bytes of length, a JSON header padded to 8 bytes, the tensors."""
    with path.open("rb") as old, temporary.open("wb") as new:
        header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        described = json.loads(header["__metadata__"]["sslcli"])
        described["facts"] |= facts
        header["__metadata__"]["sslcli"] = to_json(described)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new, 1 << 20)
