"""Formats beyond the everyday ones decode to the right values; what cannot be read is named, with the way out."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from mmifn.core.errors import UserError
from mmifn.data import formats
from mmifn.data.hdr import tone_mapped
from mmifn.data.images import read_image, read_size

RAMP = np.stack(np.broadcast_arrays(np.arange(128)[None], np.arange(64)[:, None] * 4, 77), axis=-1).astype(np.uint8)
GREY = 118  # 0.18 of linear light in sRGB: 255 (1.055 * 0.18 ** (1 / 2.4) - 0.055) = 117.6


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


# --- read --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 9, 99])
def test_an_orientation_that_does_not_exist_is_ignored(value, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(RAMP).save(tmp_path / "x.png", exif=exif)
    assert read_size(tmp_path / "x.png") == (128, 64)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), RAMP)


def test_the_largest_page_of_a_tiff_counts(tmp_path):
    small = Image.fromarray(RAMP[::2, ::2])
    small.save(tmp_path / "x.tif", save_all=True, append_images=[Image.fromarray(RAMP), small])
    assert read_size(tmp_path / "x.tif") == (128, 64)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), RAMP)


@pytest.mark.parametrize(("bits", "white"), [(10, 1023), (12, 4095), (16, 65535)])
@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_fewer_bits_in_sixteen(bits, white, extension, colour, tmp_path):
    values = np.linspace(0, white, 64 * 128 * 3).astype(np.uint16).reshape(64, 128, 3)
    cv2.imwrite(str(tmp_path / f"x.{extension}"), values[..., ::-1] if colour else values[..., 0])
    wanted = values / white * 255 if colour else (values[..., :1] / white * 255).repeat(3, axis=2)
    assert np.abs(read_image(tmp_path / f"x.{extension}") - wanted).max() <= (1 if bits == 16 else 0.51)


def with_tags(**tags):
    """The sRGB profile with the content of some tags replaced by that of others: rXYZ="gXYZ" makes red's primary green's."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack(">I", content[128:132])[0]
    entries = {content[at : at + 4].decode(): content[at + 4 : at + 12] for at in range(132, 132 + 12 * count, 12)}
    table = b"".join(name.encode() + entries[tags.get(name, name)] for name in entries)
    return content[:132] + table + content[132 + 12 * count :]


@pytest.mark.parametrize("extension", ["png", "tif", "jpg"])
def test_colours_are_converted_by_their_profile(extension, tmp_path):
    """Where the profile says that red's primary is green's and the reverse, the channels change places."""
    profile = with_tags(rXYZ="gXYZ", gXYZ="rXYZ")
    Image.fromarray(RAMP).save(tmp_path / f"x.{extension}", icc_profile=profile, quality=100, subsampling=0)
    pixels = read_image(tmp_path / f"x.{extension}").astype(int)
    assert np.abs(pixels - RAMP[..., [1, 0, 2]]).max() <= (8 if extension == "jpg" else 1)


def test_a_profile_of_srgb_and_a_broken_one_change_nothing(tmp_path):
    for profile in (with_tags(), b"no profile", with_tags()[:300]):
        Image.fromarray(RAMP).save(tmp_path / "x.png", icc_profile=profile)
        np.testing.assert_array_equal(read_image(tmp_path / "x.png"), RAMP)


def radiance(path, mantissas, exponent):
    """A Radiance file made by hand: (H, W, 3) mantissas of 8 bits, one exponent; light is mantissa / 256 * 2 ** exponent."""
    height, width = mantissas.shape[:2]
    cells = np.concatenate([mantissas, np.full((height, width, 1), exponent + 128)], axis=2).astype(np.uint8)
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width) + cells.tobytes())


@pytest.mark.parametrize("exponent", [-6, 0, 9])
def test_an_even_hdr_is_middle_grey_whatever_its_exposure(exponent, tmp_path):
    radiance(tmp_path / "x.hdr", np.full((64, 128, 3), 200), exponent)
    assert read_size(tmp_path / "x.hdr") == (128, 64)
    assert np.abs(read_image(tmp_path / "x.hdr").astype(int) - GREY).max() <= 1


def test_the_tone_curve_by_hand():
    """Light of 1 and 16 in equal shares: geometric mean 4, so x = 0.045 and 0.72, w = 1; y = x (1 + x) / (1 + x) = x."""
    linear = np.repeat(np.array([[1.0, 16.0]], np.float32), 2, axis=0)[..., None].repeat(3, axis=2)
    coded = [255 * (1.055 * x ** (1 / 2.4) - 0.055) for x in (0.045, 0.72)]
    assert np.abs(tone_mapped(linear)[0, :, 0] - coded).max() <= 0.51
    linear[0, 0] = np.nan  # counts as black: of 1, 16 and 16 the mean is 16 ** (2 / 3)
    coded = 255 * (1.055 * (0.18 * 16 ** (1 / 3)) ** (1 / 2.4) - 0.055)
    assert tone_mapped(linear)[0, :, 0] == pytest.approx([0, coded], abs=0.51)
    assert not tone_mapped(np.zeros((2, 4, 3), np.float32)).any()


def test_exr(tmp_path):
    av = pytest.importorskip("av")
    linear = np.full((64, 128, 3), 7.0, np.float32)
    with av.open(str(tmp_path / "x.exr"), "w", format="image2") as container:
        stream = container.add_stream("exr", rate=1)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "gbrpf32le"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(linear, format="gbrpf32le")), *stream.encode()]:
            container.mux(packet)
    assert read_size(tmp_path / "x.exr") == (128, 64)
    assert np.abs(read_image(tmp_path / "x.exr").astype(int) - GREY).max() <= 1
    content = (tmp_path / "x.exr").read_bytes()
    (tmp_path / "x.exr").write_bytes(content[:600])
    assert "truncated or damaged" in refusal(tmp_path / "x.exr")


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(RAMP)).save(tmp_path / "x.heic", quality=95)
    assert read_size(tmp_path / "x.heic") == (128, 64)
    assert np.abs(read_image(tmp_path / "x.heic").astype(int) - RAMP).mean() < 4


# --- named -------------------------------------------------------------------------------------------------------------


def test_heic_without_its_extra(tmp_path, monkeypatch):
    Image.init()  # all plugins enter the real list, not the one of this test
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert "pip install 'mmifn[heif]'" in refusal(tmp_path / "x.heic")


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_tiffs_are_named(channels, tmp_path):
    values = np.random.default_rng(0).uniform(size=(64, 128, channels)).astype(np.float32)
    cv2.imwrite(str(tmp_path / "x.tif"), values)
    message = refusal(tmp_path / "x.tif")
    assert "floating-point values" in message and "save it with 8 or 16 bits" in message


@pytest.mark.parametrize(("content", "said"), [
    (b"", "is empty (0 bytes)"),
    (b"<html><body>404 Not Found</body></html>", "is text (a web page or other markup), not a picture"),
    (b"once upon a time", "is text, not a picture"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
    (b"%PDF-1.7\n\xff", "is a PDF document"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "is JPEG XL"),
    (b"\0\0\0\x20ftypisom\0\0\2\0", "is a video (MP4 or QuickTime)"),
    (b"\x1aE\xdf\xa3\x01\0\0\0", "is a video (Matroska or WebM)"),
    (b"\xff\xd8\xff\xe0" + bytes(50), "damaged"),
])  # fmt: skip
def test_what_is_no_picture_is_named(content, said, tmp_path):
    (tmp_path / "x.jpg").write_bytes(content)
    assert said in refusal(tmp_path / "x.jpg")


def test_bytes_and_pictures_are_opened_like_files():
    from mmifn.data.images import decode, open_picture

    buffer = io.BytesIO()
    Image.fromarray(RAMP).save(buffer, "PNG")
    for source in (buffer.getvalue(), buffer, Image.fromarray(RAMP)):
        with open_picture(source, "the picture") as image:
            np.testing.assert_array_equal(decode(image, "the picture"), RAMP)
    with pytest.raises(UserError, match="the picture is text"), open_picture(b"hello", "the picture"):
        pass
