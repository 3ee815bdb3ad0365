"""Follow the links of a tar archive, hard and symbolic, to files and folders within it."""

from collections.abc import Iterator

from sslcli.data.sources.headers import Member


class Links:
    """The links of one archive; one that leads out of it, or to a folder above itself, is lost."""

    def __init__(self) -> None:
        self._to: dict[bytes, list[bytes]] = {}  # links by what they lead to
        self._unfollowed: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._to)

    @property
    def lost(self) -> int:
        """Number of links that have led to nothing so far."""
        return len(self._unfollowed)

    def add(self, member: Member) -> None:
        """Add a link."""
        link, target = _plain(member.path), _plain(member.target)
        if member.kind == "symbolic link":
            target = _from(link.rpartition(b"/")[0], member.target)
        self._unfollowed.add(link)
        if target and not (link + b"/").startswith(target + b"/"):
            self._to.setdefault(target, []).append(link)

    def names(self, path: bytes) -> Iterator[bytes]:
        """Yield every further path that leads to a file or folder of the archive."""
        yield from self._names(_plain(path), frozenset())

    def _names(self, path: bytes, used: frozenset[bytes]) -> Iterator[bytes]:
        above = path
        while above:
            for link in self._to.get(above, ()):
                if link not in used:
                    self._unfollowed.discard(link)
                    name = link + path[len(above) :]
                    yield name
                    yield from self._names(name, used | {link})
            above = above.rpartition(b"/")[0]


def _plain(path: bytes) -> bytes:
    return b"/".join(step for step in path.split(b"/") if step not in (b"", b"."))


def _from(folder: bytes, target: bytes) -> bytes:
    """Return the target of a symbolic link in a folder; empty when it is not in the archive."""
    if target.startswith(b"/"):
        return b""
    found = folder.split(b"/") if folder else []
    for step in _plain(target).split(b"/"):
        if step != b"..":
            found.append(step)
        elif not found:
            return b""
        else:
            found.pop()
    return b"/".join(found)
