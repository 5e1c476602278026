"""Clips: the frame of a time, and what the container says of the sphere."""

import struct

import numpy as np
import pytest
from clip import LEVELS, write_clip

from mmifn.core.errors import UserError
from mmifn.data.gpano import Crop
from mmifn.data.placement import read_moment
from mmifn.data.video import Clip, _movie_box, frame_at, is_clip, read_clip, spherical


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "c.mp4")


def test_moments_begin_with_the_first_frame(clip):
    assert read_clip(clip).duration_s == pytest.approx(3.0) and is_clip(clip)
    assert Clip(3.0).moments(1.0) == [0.0, 1.0, 2.0] and Clip(3.0).moments(2.0) == [0.0, 2.0] == Clip(3.5).moments(2.0)
    assert Clip(0.04).moments(2.0) == [0.0] and Clip(1.0).moments(0.3) == [0.0, 0.3, 0.6, 0.9]


def test_a_clip_whose_stream_does_not_tell_its_length_has_that_of_its_container(tmp_path):
    assert read_clip(write_clip(tmp_path / "c.mkv")).duration_s == pytest.approx(3.0, abs=0.26)


@pytest.mark.parametrize("moment", [0.0, 0.25, 1.0, 1.3, 2.9])
def test_the_frame_that_is_shown_at_a_time(moment, clip):
    """Four frames a second, each of its own brightness: at 1.3 s the sixth, which came at 1.25 s."""
    pixels, notes = frame_at(clip, moment)
    assert pixels.shape == (128, 256, 3) and notes == ()
    assert pixels[40:80].mean() == pytest.approx(LEVELS[int(moment * 4)], abs=6)


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize(("mode", "projection"), [(0, "auto"), (1, "stereo-tb"), (2, "stereo-lr")])
def test_eyes_by_the_box_st3d(mode, projection):
    assert spherical(b"....." + box(b"st3d", struct.pack(">IB", 0, mode))) == (projection, "", None)


def test_crops_and_projections_by_the_box_sv3d():
    def proj(inner):
        return box(b"sv3d", box(b"svhd", b"\0\0\0\0x\0") + box(b"proj", box(b"prhd", bytes(16)) + inner))

    quarter = 2**30
    assert spherical(proj(box(b"equi", bytes(20)))) == ("auto", "", None)
    assert spherical(proj(box(b"equi", struct.pack(">5I", 0, 0, quarter, quarter, 0)))) == (
        "auto", "", Crop(0.25, 0.0, 0.75, 0.75))
    assert spherical(proj(box(b"cbmp", bytes(12)))) == ("auto", "cubemap", None)


def test_version_one_is_xml():
    text = (b"<rdf:SphericalVideo><GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>"
            b"<GSpherical:StereoMode>top-bottom</GSpherical:StereoMode></rdf:SphericalVideo>")
    assert spherical(b"uuid" + text) == ("stereo-tb", "", None) and spherical(b"") == ("auto", "", None)


def test_names_in_another_encoding_and_boxes_without_end_are_passed_over(clip, tmp_path):
    content = clip.read_bytes()
    assert b"Lavf" in content  # the name of the program that wrote it
    endless = struct.pack(">I4sQ", 1, b"free", 2 ** 64 - 1)
    for change in (lambda data: data.replace(b"Lavf", b"L\xe4vf"), lambda data: data + endless):
        (tmp_path / "c.mp4").write_bytes(change(content))
        assert read_clip(tmp_path / "c.mp4") == read_clip(clip)
    with open(tmp_path / "only.mp4", "wb") as file:
        file.write(endless)
    with open(tmp_path / "only.mp4", "rb") as file:
        assert _movie_box(file) == b""


def test_clips_that_cannot_be_read(clip, tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"x\.mp4 is not a video that can be read"):
        read_clip(tmp_path / "x.mp4")
    with pytest.raises(UserError, match=r"none\.mp4 does not exist"):
        frame_at(tmp_path / "none.mp4", 0.0)


def test_a_frame_goes_the_way_of_every_picture(clip):
    (sphere,) = read_moment(clip, "c.mp4 at 1 s", 1.0)
    np.testing.assert_array_equal(sphere.erp, frame_at(clip, 1.0)[0])
    assert len(read_moment(clip, "c", 1.0, projection="stereo-lr")) == 2
    with pytest.raises(UserError, match=r"c\.mp4 at 1 s has 0\.032768 megapixels"):
        read_moment(clip, "c.mp4 at 1 s", 1.0, max_megapixels=0.01)
