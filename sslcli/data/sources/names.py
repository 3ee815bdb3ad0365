"""Names of files and folders: which are nobody's data, and how any of them is written as text."""

import re

# What systems put beside a person's files: archives of macOS, previews of Synology, Windows' bin.
_FOREIGN = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"})
_ESCAPE = re.compile(r"\\x[0-9a-f]{2}")


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is none of the data: hidden, or put there by a system."""
    return name in _FOREIGN or (name.startswith(".") and name not in (".", ".."))


def printable(name: str) -> str:
    r"""Return a name as text that every file format takes: bytes that are no UTF-8 become \xE9.

    Different names stay different: where an escape stands or is written, backslashes are doubled.

    Args:
        name: As `os.fsdecode` returns it.
    """
    if name.isascii() and "\\" not in name:
        return name
    doubled = name.replace("\\", "\\\\").encode("utf-8", "surrogateescape")
    escaped = doubled.decode("utf-8", "backslashreplace")
    return escaped if _ESCAPE.search(escaped) else name
