"""Images with damage, in folders, archives and tables, loaded the way a run loads them."""

import gzip
import io
import os
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from mutation import damage_bytes
from PIL import Image, features

from sslcli.data.sources.open import open_source

_BASES: list[bytes] = []
_EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 16 16
(canary) (w) file closefile
showpage
%%EOF
"""


def prepare(folder: Path) -> None:
    """Encode a small image in every format, mode and compression that Pillow writes here."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    noise = Image.fromarray(pixels)
    smooth = noise.resize((6, 5)).resize((48, 40), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    movie = {"save_all": True, "append_images": [smooth, noise]}
    for form, how in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("PPM", {}),
        ("GIF", movie),
        ("PNG", movie),
        ("WEBP", movie),
        ("TIFF", movie),
    ):
        _keep(smooth, form, **how)
    for mode, forms in {
        "L": "JPEG PNG TIFF",
        "1": "PNG BMP TIFF",
        "P": "PNG GIF BMP TIFF",
        "LA": "PNG",
        "RGBA": "PNG WEBP TIFF",
        "CMYK": "JPEG TIFF",
        "F": "TIFF",
        "I;16": "PNG TIFF",
        "I": "TIFF",
        "YCbCr": "TIFF",
        "LAB": "TIFF",
    }.items():
        for form in forms.split():
            source = smooth.convert("L") if mode == "I;16" else smooth
            _keep(source.convert(mode), form)
    for codec, form in (("jpg_2000", "JPEG2000"), ("avif", "AVIF")):
        if features.check(codec):
            _keep(smooth, form)
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "data").mkdir()


def _keep(image: Image.Image, form: str, **how) -> None:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    _BASES.append(buffer.getvalue())


def ways(seed: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Write the image of this seed into a folder, an archive and a table; return how to load it."""
    random = Random(seed)
    kind = random.choice((_bytes, _bytes, _bytes, _head, _head, _sizes, _bomb, _strange))
    data = kind(random.choice(_BASES), random)
    root = folder / "data"
    shutil.rmtree(root)
    (root / "a").mkdir(parents=True)
    image = root / "a" / "x.png"
    image.write_bytes(data)
    odd = random.random()
    if odd < 0.04:
        _replace_by_oddity(image, random)
    (folder / "a.tar").write_bytes(_archive(data, random))
    table = folder / random.choice(("t.csv", "t.csv.gz"))
    _write_table(table, random)
    return {
        "folder": lambda: open_source(str(root), part=None).load(0),
        "examined": lambda: open_source(str(root), part=None).examine(0),
        "archive": lambda: _one_of(open_source(str(folder / "a.tar"), part=None), seed),
        "table": lambda: _one_of(open_source(str(table), part=None), seed),
    }


def _one_of(source, seed: int) -> None:
    source.remarks()
    source.load(seed % len(source))


def _bytes(data: bytes, random: Random) -> bytes:
    return damage_bytes(data, random)


def _head(data: bytes, random: Random) -> bytes:
    return damage_bytes(data[:80], random) + data[80:]


def _sizes(data: bytes, random: Random) -> bytes:
    """Write large numbers over the header, where sizes, offsets and counts stand."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        form = random.choice(("<H", ">H", "<I", ">I"))
        size = struct.calcsize(form)
        start = random.randrange(min(len(data), 200) - size)
        number = random.choice((0, 1, 255, 9_000, 20_000, 65_535, 2**24, 2**31 - 1, 2**32 - 1))
        struct.pack_into(form, changed, start, number & (2 ** (8 * size) - 1))
    return bytes(changed)


def _bomb(data: bytes, random: Random) -> bytes:
    """Promise many pixels, or much text, in few bytes."""
    side = random.choice((8_000, 9_400, 12_000, 65_500, 2**31 - 1))
    depth, kind = random.choice(((8, 2), (16, 6), (16, 0), (1, 0), (8, 3), (8, 6)))
    head = struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, random.choice((0, 1)))
    zeros = zlib.compress(bytes(random.choice((1_000, 50_000_000))))
    chunks = {
        b"IHDR": head,
        b"PLTE": bytes(3),
        random.choice((b"zTXt", b"tEXt", b"acTL", b"eXIf")): b"k\0\0" + zeros,
        random.choice((b"iCCP", b"iTXt", b"tRNS", b"sRGB")): b"k\0\0" + zeros,
        b"IDAT": zeros,
        b"IEND": b"",
    }
    png = b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks, chunks.values()))
    short = min(side, 65_535)
    return random.choice(
        (
            png,
            b"P6 %d %d 255\n" % (side, side) + bytes(100),
            b"P5 %d %d 65535\n" % (side, side) + bytes(100),
            b"GIF89a" + struct.pack("<HH", short, short) + data[10:],
            b"BM" + struct.pack("<IIIIiiHHI", 70, 0, 54, 40, side, side, 1, 24, 1) + bytes(60),
            png[:8] + _chunk(b"IHDR", head) * 1_000,
            b"\xff\xd8" + b"\xff\xe1\0\x08Exif\0\0" * 10_000,
            b"P3 9 9 255 " + b"1" * 300_000,
        )
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _strange(data: bytes, random: Random) -> bytes:
    """Put another kind of file under an image's name; some would run in its own reader."""
    return random.choice(
        (
            _EPS,
            b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIII", 30, len(_EPS), 0, 0, 0, 0) + _EPS,
            b"",
            b"\0" * 4_096,
            b"#!/bin/sh\ntouch canary\n",
            b"%PDF-1.4\n",
            b"cos\nsystem\n(S'touch canary'\ntR.",
            b'<svg xmlns="http://www.w3.org/2000/svg"><script>canary</script></svg>',
            b"8BPS" + bytes(99),
            b"PK\x03\x04" + data,
            data + data,
            data[::-1],
            b"\xd7\xcd\xc6\x9a" + bytes(200),
            b"icns" + struct.pack(">I", 2**31) + data,
            b"\0\0\1\0\1\0" + data,
            b"DDS " + data * 3,
        )
    )


def _replace_by_oddity(image: Path, random: Random) -> None:
    """Put something that is no file, or has no end, where an image was found."""
    image.unlink()
    kind = random.choice(("pipe", "zero", "circle", "holes"))
    if kind == "pipe":
        os.mkfifo(image)
    elif kind == "zero":
        image.symlink_to("/dev/zero")
    elif kind == "circle":
        image.symlink_to("x.png")
    else:
        image.touch()
        os.truncate(image, 2**36)


def _archive(data: bytes, random: Random) -> bytes:
    """Return an archive with the image, and often with damage of its own."""
    buffer = io.BytesIO()
    form = random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    names = ("a/x.png", "../../canary.png", "/tmp/canary.png", "n" * 150 + "/x.png", "\u00e9/x.png")
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        tags = ["b/y.cls"] * random.choice((0, 0, 1)) + ["a/x.cls"] * random.choice((0, 0, 1))
        for name in (random.choice(names), "b/y.png", *tags):
            content = b"7" if name.endswith("cls") and random.random() < 0.5 else data
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if form == tarfile.PAX_FORMAT:
                records = ("size", "path", "GNU.sparse.major", "comment")
                values = ("-5", "x", "99999999999999999999", "\0", "../../canary.png", "1e3", "")
                if random.random() < 0.4:
                    member.pax_headers = {random.choice(records): random.choice(values)}
            archive.addfile(member, io.BytesIO(content))
    whole = bytearray(buffer.getvalue())
    if random.random() < 0.3:
        return damage_bytes(bytes(whole), random)
    if random.random() < 0.5:
        _damage_header(whole, random)
    return bytes(whole)


def _damage_header(archive: bytearray, random: Random) -> None:
    """Change fields of one block as if it were a header, and make its sum right again."""
    start = 512 * random.randrange(len(archive) // 512)
    fields = {
        "name": (0, random.choice((b"\0" * 100, b"../canary.png", b"\xff" * 100, b".cls", b"/"))),
        "size": (
            124,
            random.choice(
                (
                    b"\x80" + b"\xff" * 11,
                    b"\xff" * 12,
                    b"-0000000001",
                    b" " * 12,
                    b"777777777777",
                    b"\x80" + b"\0" * 10 + b"\1",
                    b"9",
                    b"0" * 12,
                )
            ),
        ),
        "kind": (156, random.choice((b"x", b"g", b"L", b"K", b"S", b"1", b"2", b"3", b"5", b"Z"))),
        "prefix": (345, random.choice((b"..", b"/" * 155, b"\xff" * 155))),
    }
    for offset, value in random.sample(list(fields.values()), random.randint(1, 3)):
        archive[start + offset : start + offset + len(value)] = value
    archive[start + 148 : start + 156] = b" " * 8
    total = sum(archive[start : start + 512])
    archive[start + 148 : start + 156] = b"%06o\0 " % total


def _write_table(path: Path, random: Random) -> None:
    """Write a table whose rows name the image, or what they should not, often with damage."""
    names = (
        "data/a/x.png",
        "/dev/zero",
        "/dev/stdin",
        "/etc/passwd",
        "../../../../etc/passwd",
        "a\0b",
        "",
        "~/x",
        "x" * 5_000,
        "data",
        "pipe",
        '"',
        "\u202e",
    )
    named = random.choice(("data/a/x.png", random.choice(names)))
    head = random.choice(("filepath,label", "filepath\ttitle", "filepath;label;title", "sentence"))
    separator = next((mark for mark in "\t;," if mark in head), ",")
    row = separator.join([named, "canary", "$(touch canary)"][: head.count(separator) + 1])
    data = f"{head}\n{row}\n{row}\n".encode() * random.choice((1, 1, 1, 300))
    if random.random() < 0.4:
        data = damage_bytes(data, random)
    if path.suffix == ".gz":
        data = (
            b"a" * 10 + bytes(random.choice((0, 3 * 2**30 // 64)))
            if random.random() < 0.05
            else data
        )
        data = gzip.compress(data, 1)
        data = damage_bytes(data, random) if random.random() < 0.3 else data
    path.write_bytes(data)
