"""From pictures to spheres: projections undone, crops placed, padding found, filled and told."""

import io

import cv2
import numpy as np
import pytest
from pictures import crop, gpano, projected, two_lenses
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.data.padding import fill, find_padding, share_of_sphere, view_shares
from mmifn.data.placement import place, read_spheres
from mmifn.data.projections import to_spheres
from mmifn.simulate.rendered.panorama import render_scene


@pytest.fixture(scope="module")
def scene():
    return render_scene("plaza_01", 256)


def apart(a, b):
    """Mean difference of two panoramas, grey levels."""
    return np.abs(a.astype(int) - b).mean()


# --- projections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("c3x2", (768, 512)), ("c6x1", (1536, 256)), ("c1x6", (256, 1536))])
def test_a_cube_of_ffmpegs_becomes_the_panorama_again(name, size, scene):
    (part,) = to_spheres(projected(scene, name, size), "cubemap", "x")
    assert part.pixels.shape == (512, 1024, 3)
    again = cv2.resize(part.pixels, (512, 256), interpolation=cv2.INTER_AREA)
    assert apart(again, scene) < 4 < 12 < apart(again, np.roll(scene, 20, axis=1))


def test_a_cross_is_the_same_cube_laid_out_otherwise(scene):
    faces = projected(scene, "c6x1", (1536, 256)).reshape(256, 6, 256, 3)
    right, left, up, down, front, back = (faces[:, k] for k in range(6))
    cross = np.zeros((768, 1024, 3), np.uint8)
    for face, column, row in ((up, 1, 0), (left, 0, 1), (front, 1, 1), (right, 2, 1), (back, 3, 1), (down, 1, 2)):
        cross[256 * row:256 * (row + 1), 256 * column:256 * (column + 1)] = face
    (part,) = to_spheres(cross, "cubemap", "x")
    assert apart(part.pixels, to_spheres(faces.reshape(256, 1536, 3), "cubemap", "x")[0].pixels) < 1


def test_two_lenses_of_ffmpegs_become_the_panorama_again(scene):
    (part,) = to_spheres(two_lenses(scene), "dual-fisheye", "x")
    assert apart(part.pixels, scene) < 6 < 12 < apart(part.pixels, np.roll(scene, 20, axis=1))


@pytest.mark.parametrize(("projection", "axis", "squeezed"), [
    ("stereo-tb", 0, False), ("stereo-tb", 0, True), ("stereo-lr", 1, False), ("stereo-lr", 1, True)])
def test_each_eye_is_a_panorama(projection, axis, squeezed, scene):
    eyes = [scene, np.roll(scene, 9, axis=1)]
    if squeezed:
        eyes = [cv2.resize(eye, (512, 128) if axis == 0 else (256, 256), interpolation=cv2.INTER_AREA) for eye in eyes]
    parts = to_spheres(np.concatenate(eyes, axis=axis), projection, "x")
    for part, eye in zip(parts, [scene, np.roll(scene, 9, axis=1)], strict=True):
        assert part.pixels.shape == scene.shape and part.covered is None
        assert apart(part.pixels, eye) == 0 if not squeezed else apart(part.pixels, eye) < 8


def test_each_half_sphere_lies_ahead(scene):
    half = scene[:, 128:384]
    parts = to_spheres(np.concatenate([half, half], axis=1), "vr180", "x")
    assert len(parts) == 2 and parts[0].covered.sum() == parts[0].covered.size / 2
    np.testing.assert_array_equal(parts[1].pixels[:, 128:384], half)


def test_another_shape_is_refused(scene):
    with pytest.raises(UserError, match=r"x is 512x256 \(aspect 2.000\); --projection cubemap wants an aspect of 1.5 or 6 or 0"):
        to_spheres(scene, "cubemap", "x")


# --- padding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "colour"), [(0, "black"), (255, "white"), (120, "one-coloured")])
def test_caps_are_found_named_and_left_out(level, colour, scene):
    picture = scene.copy()
    picture[:20], picture[214:] = level, level
    said = find_padding(cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], 1))
    assert said.found == (f"a {colour} cap above", f"a {colour} cap below")
    # Between colatitudes 20/256 and 214/256 of 180° lie (cos 14.06° + cos 29.53°) / 2 = 0.9201 of the sphere; 4 rows of
    # smeared edge are taken off at either side.
    assert share_of_sphere(said.covered) == pytest.approx(0.9201, abs=0.02)
    assert not said.covered[:20].any() and not said.covered[214:].any() and said.covered[25:209].all()


def test_bands_at_the_sides_and_a_transparent_part(scene):
    picture = scene.copy()
    picture[:, :128], picture[:, 384:] = 0, 0
    said = find_padding(picture)
    assert said.found == ("180° of black at the sides",) and share_of_sphere(said.covered) == pytest.approx(0.5, abs=0.02)
    (sphere,) = place(scene, projection="equirectangular", opaque=np.arange(256)[:, None].repeat(512, axis=1) < 128)
    assert sphere.share == pytest.approx(0.5) and sphere.notes[0].startswith("50 % of the sphere have content; the rest")


@pytest.mark.parametrize("change", [lambda x: x, lambda x: x // 4 + 180, lambda x: (x * 0.05).astype(np.uint8)])
def test_a_panorama_without_padding_has_none(change, scene):
    assert find_padding(change(scene)) is None


def test_what_is_empty_is_filled_by_a_mirror_image(scene):
    covered = np.ones((256, 512), bool)
    covered[200:] = False
    filled = fill(scene, covered)
    np.testing.assert_array_equal(filled[:200], scene[:200])
    assert apart(filled[200:240], scene[159:199][::-1]) < 1  # row 199 is the last one covered: 200 shows 198, 239 shows 159
    beside = np.ones((256, 512), bool)
    beside[:, :100] = False  # to the left of the seam the picture goes on
    assert apart(fill(scene, beside)[:, :45], scene[:, 466:511][:, ::-1]) < 1  # column 0 shows 510


def test_how_much_of_a_view_is_covered():
    north = np.arange(256)[:, None].repeat(512, axis=1) < 128
    assert view_shares(north, [[0, 90], [0, -90], [10, 0]], 40.0) == pytest.approx([1, 0, 0.5], abs=0.02)
    assert view_shares(None, [[0, 0]], 40.0).tolist() == [1]


# --- what files say of themselves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [False, True])
@pytest.mark.parametrize(("left", "top", "width", "height"), [(0, 40, 512, 180), (128, 64, 256, 128), (400, 30, 200, 100)])
def test_a_crop_is_placed_on_its_sphere(left, top, width, height, elements, scene):
    columns = (left + np.arange(width)) % 512
    told = {"PoseHeadingDegrees": "30", **crop(left, top, width, height)}
    content = gpano(scene[top:top + height][:, columns], elements=elements, **told)
    (sphere,) = read_spheres(content, "x")
    assert sphere.erp.shape == scene.shape and sphere.heading_deg == 30
    assert apart(sphere.erp[top:top + height][:, columns], scene[top:top + height][:, columns]) < 6
    edges = np.cos(np.radians([top / 256 * 180, (top + height) / 256 * 180]))
    assert sphere.share == pytest.approx((edges[0] - edges[1]) / 2 * width / 512, abs=1e-3)
    assert "of the sphere have content" in sphere.notes[0] and (sphere.shown[0] == 48).all()


def test_a_reduced_crop_is_placed_by_its_shape(scene):
    small = cv2.resize(scene[64:192, 128:384], (128, 64), interpolation=cv2.INTER_AREA)
    (sphere,) = read_spheres(gpano(small, **crop(128, 64, 256, 128)), "x")
    assert sphere.erp.shape == (128, 256, 3) and sphere.covered[32:96, 64:192].all() and sphere.covered.sum() == 64 * 128


def test_metadata_of_a_whole_sphere_and_stale_ones(scene):
    (whole,) = read_spheres(gpano(scene, **crop(0, 0, 512, 256)), "x")
    assert whole.covered is None and whole.notes == ()
    (stale,) = read_spheres(gpano(scene, **crop(0, 40, 512, 180)), "x")
    assert stale.covered is None and "of a picture of another shape" not in stale.notes  # the size of the whole: it was padded
    (other,) = read_spheres(gpano(scene, **crop(0, 80, 1000, 300, (1000, 500))), "x")
    assert other.covered is None and "of a picture of another shape" in other.notes[0] and "not used" in other.notes[0]
    with pytest.raises(UserError, match=r"is 2:1 .*of a picture of another shape"):
        read_spheres(gpano(scene[:150], **crop(0, 80, 1000, 250, (1000, 500))), "x")


def test_another_projection_is_named(scene):
    with pytest.raises(UserError, match=r"its projection is 'cylindrical'.*v360=cylindrical:e"):
        read_spheres(gpano(scene, ProjectionType="cylindrical"), "x")
    assert read_spheres(gpano(scene, ProjectionType="equirectangular"), "x")[0].notes == ()


def test_a_gain_map_alone_is_named(scene):
    file = io.BytesIO()
    xmp = '<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:GainMapMax="2.0"/>'
    Image.fromarray(scene[..., 0]).save(file, "JPEG", xmp=xmp.encode())
    with pytest.raises(UserError, match="gain map of an HDR photograph"):
        read_spheres(file.getvalue(), "x")


def test_the_limit_holds_for_the_whole_sphere_too(scene):
    with pytest.raises(UserError, match=r"a crop of a sphere of 8192x4096 \(34 megapixels\), the limit is 30"):
        read_spheres(gpano(scene[:, :256], **crop(0, 0, 256, 256, (8192, 4096))), "x", max_megapixels=30)


def test_transparent_parts_and_grey_pictures_are_told(scene):
    alpha = np.full((256, 512, 1), 255, np.uint8)
    alpha[200:] = 0
    file = io.BytesIO()
    Image.fromarray(np.concatenate([scene, alpha], axis=2)).save(file, "PNG")
    (sphere,) = read_spheres(file.getvalue(), "x")
    # Above colatitude 140.6° lie (1 + cos 39.4°) / 2 of the sphere.
    assert sphere.share == pytest.approx(0.886, abs=0.002) and sphere.notes[0].startswith("89 % of the sphere")
    grey = scene.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    assert "black and white" in place(grey)[0].notes[0]


@pytest.mark.parametrize("projection", ["auto", "stereo-tb"])
def test_a_sphere_that_is_too_small_is_refused_by_name_and_one_limit(projection, scene):
    small = cv2.resize(scene, (128, 64), interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(small).save(file, "PNG")
    with pytest.raises(UserError, match=r"a\.jpg .*128x64; at least 256x128 is needed"):
        read_spheres(file.getvalue(), "a.jpg", projection=projection)


@pytest.mark.parametrize(("shape", "hint"), [((512, 512), "stereo-tb"), ((128, 512), "stereo-lr"), ((342, 512), "cubemap")])
def test_shapes_that_are_known_are_hinted_at(shape, hint):
    file = io.BytesIO()
    Image.new("RGB", shape[::-1]).save(file, "PNG")
    with pytest.raises(UserError, match=f"is 2:1 .*--projection {hint}"):
        read_spheres(file.getvalue(), "x")
