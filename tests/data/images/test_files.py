import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sslcli.data.images.files import MAX_PIXELS, decode, mode, read_file
from sslcli.errors import DataError


def saved(image, form="PNG", **how):
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def ramp(dtype=np.uint8, step=1):
    return (np.arange(64).reshape(8, 8) * step).astype(dtype)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_decoded_exactly(form):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    decoded = decode(saved(Image.fromarray(pixels), form))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, pixels)


def test_jpeg_is_decoded_as_pillow_does_without_draft():
    data = saved(Image.fromarray(np.tile(ramp(step=4), (4, 4))).convert("RGB"), "JPEG")
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_grey_is_repeated_in_three_channels():
    decoded = decode(saved(Image.fromarray(ramp(step=4))))
    assert np.array_equal(decoded, np.repeat(ramp(step=4)[:, :, None], 3, axis=2))


def test_one_bit_becomes_black_and_white():
    decoded = decode(saved(Image.fromarray(ramp() > 31)))
    assert sorted(np.unique(decoded)) == [0, 255]


def test_palette_is_resolved():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    assert decode(saved(image)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_cmyk_jpeg_has_its_colours():
    red = decode(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))[8, 8].astype(int)
    assert red[0] > 200
    assert max(red[1:]) < 60


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(form):
    decoded = decode(saved(Image.fromarray(ramp(np.uint16, 1040)), form))
    assert np.array_equal(decoded[..., 0], np.round(ramp(np.float64, 1040) / 257))


def test_float_images_are_read_in_0_to_1():
    decoded = decode(saved(Image.fromarray(ramp(np.float32) / 63), "TIFF"))
    assert decoded[0, 0, 0] == 0
    assert decoded[-1, -1, 0] == 255


def test_float_images_beyond_1_are_refused():
    with pytest.raises(DataError, match="range"):
        decode(saved(Image.fromarray(ramp(np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(kind):
    image = Image.new(kind, (2, 1), 0)
    image.putpixel((1, 0), (0,) * (len(kind) - 1) + (255,))
    assert decode(saved(image)).tolist() == [[[255] * 3, [0] * 3]]


def test_transparent_palette_entry_is_white():
    image = Image.new("P", (1, 1))
    image.putpalette([9, 9, 9])
    assert decode(saved(image, transparency=0)).tolist() == [[[255] * 3]]


def test_exif_rotation_is_applied():
    image = Image.new("RGB", (16, 8), "white")
    image.paste((255, 0, 0), (0, 0, 8, 8))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    decoded = decode(saved(image, "JPEG", exif=exif)).astype(int)
    assert decoded.shape == (16, 8, 3)
    assert decoded[2, 4, 1] < 60  # the left half is on top now
    assert decoded[13, 4, 1] > 200


def test_damaged_exif_does_not_lose_the_image():
    data = saved(Image.new("RGB", (8, 4), "white"), "JPEG", exif=b"Exif\0\0no tiff at all")
    assert decode(data).shape == (4, 8, 3)


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_truncated_file_is_refused(form, encode):
    data = encode(size=(64, 64), form=form)
    with pytest.raises(DataError):
        decode(data[: len(data) * 2 // 3], "here.img")


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0"])
def test_broken_bytes_are_refused_by_name(data):
    with pytest.raises(DataError) as caught:
        decode(data, "here.png")
    assert caught.value.where == "here.png"
    assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_decompression_bomb_is_refused_unopened(side):
    assert side * side > MAX_PIXELS

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(DataError, match="pixels"):
        decode(b"\x89PNG\r\n\x1a\n" + header + body)


def test_mode_is_as_stored():
    assert mode(saved(Image.new("L", (2, 2)))) == "L"


def test_formats_whose_reader_runs_a_program_are_no_images():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="no known image format"):
        decode(eps, "here.png")


def test_every_16_bit_value_is_rounded_to_the_nearest():
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    decoded = decode(saved(Image.fromarray(values)))
    assert np.array_equal(decoded[..., 0], np.round(values / 257))


@pytest.mark.parametrize("kind", ["pipe", "device", "circle", "giant", "missing", "a\0b"])
def test_what_is_no_file_or_has_no_end_is_not_read(tmp_path, kind):
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "circle"):
        path.symlink_to("/dev/zero" if kind == "device" else "circle")
    elif kind == "giant":
        path.touch()
        os.truncate(path, 2**36)
    with pytest.raises(DataError, match=r"cannot be read: .+") as caught:
        read_file(str(path), "look")
    told = str(path).replace("\0", r"\x00")  # an error escapes what a terminal cannot show
    assert (caught.value.where, caught.value.hint) == (told, "look")


def test_running_out_of_memory_is_said(monkeypatch):
    def exhausted(data):
        raise MemoryError

    monkeypatch.setattr("sslcli.data.images.files._opened", exhausted)
    with pytest.raises(DataError, match="MemoryError"):
        decode(b"x")


def test_white_of_sixteen_bits_can_be_named():
    twelve = np.linspace(0, 4095, 64).round().astype(np.uint16).reshape(8, 8)
    decoded = decode(saved(Image.fromarray(twelve)), white=4095)
    assert np.array_equal(decoded[..., 0], np.round(twelve / 4095 * 255))
    assert len(np.unique(decode(saved(Image.fromarray(twelve))))) <= 17
    with pytest.raises(DataError, match=r"range \[0, 2047\]"):
        decode(saved(Image.fromarray(twelve)), white=2047)


def png_of_wide_colours(value):
    """Return a PNG of one pixel with sixteen bits a colour, which Pillow does not write."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), b"IDAT": b"", b"IEND": b""}
    chunks[b"IDAT"] = zlib.compress(b"\0" + struct.pack(">HHH", value, value, value))
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_colours_whose_lower_bits_are_lost_are_refused_where_white_is_named():
    assert decode(png_of_wide_colours(65535)).tolist() == [[[255] * 3]]
    with pytest.raises(DataError, match="upper eight"):
        decode(png_of_wide_colours(4095), white=4095)
