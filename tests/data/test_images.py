"""Panoramas decode to the right values, and every unusable file is one clear message."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.data.images import png_made_from, read_image, read_size, write_png

RAMP = np.stack(np.broadcast_arrays(np.arange(128)[None], np.arange(64)[:, None] * 4, 77), axis=-1).astype(
    np.uint8
)  # (64, 128, 3)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, bits=8, colour=2, rows=b"", late=b""):
    """A PNG made by hand: without rows it is a header only."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + late + chunk(b"IEND", b"")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pano.png"


def refusal(path, **kwargs):
    messages = []
    for reader in (read_image, *([read_size] if kwargs.pop("header", False) else [])):
        with pytest.raises(UserError) as caught:
            reader(path, **kwargs)
        messages.append(str(caught.value))
    assert str(path) in messages[0] and len(set(messages)) == 1
    return messages[0]


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_are_exact(extension, tmp_path):
    path = tmp_path / f"x.{extension}"
    Image.fromarray(RAMP).save(path, **({"lossless": True} if extension == "webp" else {}))
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, RAMP)
    assert read_size(path) == (128, 64)


@pytest.mark.parametrize("extension", ["jpg", "jp2", "avif"])
def test_lossy_formats_are_near(extension, tmp_path):
    Image.fromarray(RAMP).save(tmp_path / f"x.{extension}", quality=95) if extension != "jp2" else Image.fromarray(RAMP).save(
        tmp_path / "x.jp2"
    )
    assert np.abs(read_image(tmp_path / f"x.{extension}").astype(int) - RAMP).mean() < 4


def test_grey_becomes_three_equal_channels(path):
    Image.fromarray(RAMP[..., 0]).save(path)
    np.testing.assert_array_equal(read_image(path), RAMP[..., :1].repeat(3, axis=2))


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(extension, tmp_path):
    values = np.zeros((64, 128), np.uint16)
    values[0, :6] = [0, 257, 128 * 257, 65535, 1000, 40000]
    Image.fromarray(values).save(tmp_path / f"x.{extension}")
    pixels = read_image(tmp_path / f"x.{extension}")
    # v / 65535 * 255, rounded: 1000 -> 3.89, 40000 -> 155.64
    assert pixels[0, :6, 0].tolist() == [0, 1, 128, 255, 4, 156]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_sixteen_bit_colour_keeps_its_upper_half(path):
    rows = b"".join(b"\0" + struct.pack(">384H", *[0x1234, 0x8000, 0xFFFF] * 128) for _ in range(64))
    path.write_bytes(png(128, 64, bits=16, rows=rows))
    assert read_image(path)[5, 7].tolist() == [0x12, 0x80, 0xFF]


def test_floating_point_values_are_refused(tmp_path):
    Image.fromarray(RAMP[..., 0].astype(np.float32)).save(tmp_path / "x.tif")
    assert "save it with 8 or 16 bits" in refusal(tmp_path / "x.tif")


def test_cmyk_is_converted(tmp_path):
    Image.merge("CMYK", [Image.new("L", (128, 64), value) for value in (255, 0, 102, 51)]).save(tmp_path / "x.tif")
    # (1 - C)(1 - K), (1 - M)(1 - K), (1 - Y)(1 - K) of 255: 0, 204, 122.4
    assert np.abs(read_image(tmp_path / "x.tif")[9, 9].astype(int) - [0, 204, 122]).max() <= 1


def test_palette_is_converted(path):
    image = Image.fromarray((RAMP[..., 0] // 64).astype(np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 128, 0])
    image.save(path)
    assert read_image(path)[0, 0].tolist() == [255, 0, 0] and read_image(path)[0, 127].tolist() == [0, 128, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_is_dropped_and_one_transparent_pixel_refused(path, mode):
    image = Image.fromarray(RAMP).convert(mode)
    image.save(path)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.fromarray(RAMP).convert(mode[:-1]).convert("RGB")))
    value = list(image.getpixel((3, 3)))
    image.putpixel((3, 3), (*value[:-1], 249))
    image.save(path)
    assert "has transparent pixels" in refusal(path)
    image.putpixel((3, 3), (*value[:-1], 250))  # an editor's rounding
    image.save(path)
    np.testing.assert_array_equal(read_image(path), np.asarray(Image.fromarray(RAMP).convert(mode[:-1]).convert("RGB")))


def test_a_transparent_colour_counts_as_transparent(path):
    Image.fromarray(RAMP[..., 0]).save(path, transparency=5)
    assert "has transparent pixels" in refusal(path)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(RAMP)).save(tmp_path / "x.png", exif=exif)
    assert read_size(tmp_path / "x.png") == (128, 64)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), RAMP)


def test_size_and_pixels_agree_where_the_orientation_comes_after_the_pixels(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = b"".join(b"\0" + row.tobytes() for row in RAMP)
    path.write_bytes(png(128, 64, rows=rows, late=chunk(b"eXIf", exif.tobytes()[6:])))
    assert Image.open(path).getexif()[0x0112] == 6  # it is there
    assert read_size(path) == (128, 64) and read_image(path).shape == (64, 128, 3)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_missing(path):
    assert "does not exist" in refusal(path, header=True)
    path.mkdir()
    assert "is a folder" in refusal(path, header=True)


@pytest.mark.parametrize(
    "junk", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"BM\xb6\0" + bytes(60), b"II*\0" + bytes(40), b"\xff\xd8\xff" + bytes(40)]
)
def test_not_an_image(path, junk):
    path.write_bytes(junk)
    assert "replace the file" in refusal(path, header=True)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "jp2", "avif", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_truncated(extension, share, tmp_path):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, {"jpg": "JPEG", "jp2": "JPEG2000", "tif": "TIFF"}.get(extension, extension.upper()))
    content = buffer.getvalue()
    (tmp_path / f"x.{extension}").write_bytes(content[: int(share * len(content))])
    message = refusal(tmp_path / f"x.{extension}")
    assert "truncated or damaged" in message or "is not an image" in message
    assert message.endswith("replace the file")


def test_corrupt_bytes_never_escape_as_anything_else(tmp_path):
    rng = np.random.default_rng(7)
    for extension, kind in (("png", "PNG"), ("avif", "AVIF"), ("tif", "TIFF"), ("bmp", "BMP")):
        buffer = io.BytesIO()
        Image.fromarray(RAMP).save(buffer, kind)
        for _ in range(25):
            content = bytearray(buffer.getvalue())
            for at in rng.integers(0, min(300, len(content)), 4):
                content[at] = rng.integers(256)
            path = tmp_path / f"x.{extension}"
            path.write_bytes(content)
            try:
                assert read_image(path).shape[2] == 3
            except UserError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(("width", "height"), [(100, 100), (64, 128), (130, 64), (126, 64), (192, 64)])
def test_other_aspects(path, width, height):
    Image.new("RGB", (width, height)).save(path)
    assert f"is {width}x{height}" in refusal(path, header=True) and "is 2:1" in refusal(path)
    assert read_image(path, panorama=False).shape == (height, width, 3)


def test_one_percent_off_is_tolerated(path):
    Image.new("RGB", (2020, 1000)).save(path)
    assert read_size(path) == (2020, 1000)
    Image.new("RGB", (2021, 1000)).save(path)
    with pytest.raises(UserError, match="2:1"):
        read_size(path)


def test_one_pixel_and_other_tiny_ones(path):
    for size in ((1, 1), (62, 31)):
        Image.new("RGB", size).save(path)
        assert "at least 64x32 is needed" in refusal(path, header=True)


def test_the_size_is_refused_before_any_pixel_is_decoded(path, monkeypatch):
    path.write_bytes(png(40_000, 20_000))  # 800 megapixels in 80 bytes: a decoder would fail or fill the memory
    message = refusal(path, header=True)
    assert "800 megapixels (40000x20000), the limit is 300" in message and "--max-megapixels" in message
    assert "limit is 799" in refusal(path, max_megapixels=799)
    assert "truncated or damaged" in refusal(path, max_megapixels=800.5)  # the limit can be raised; then its emptiness shows
    Image.fromarray(RAMP).save(path)
    assert "limit is 0.008" in refusal(path, max_megapixels=0.008)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)  # reading the size decodes nothing
    assert read_size(path, max_megapixels=0.0082) == (128, 64)


def test_written_pngs_are_exact_and_say_what_they_were_made_from(path):
    write_png(RAMP, path, "geometry 7")
    np.testing.assert_array_equal(read_image(path), RAMP)
    assert png_made_from(path) == "geometry 7"
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 3, 0):
        path.write_bytes(whole[:size])
        assert png_made_from(path) is None  # what a loss of power cut off is made again
    write_png(RAMP, path)
    assert png_made_from(path) is None
    assert png_made_from(path.with_name("none.png")) is None
    path.write_bytes(b"junk")
    assert png_made_from(path) is None
