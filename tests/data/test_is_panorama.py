"""Pictures that are no panoramas are named, with the way out; panoramas are not, however distorted."""

import cv2
import numpy as np
import pytest
from pictures import one_lens, page, photograph, projected, two_lenses
from skips import SHARED, needs_shared
from stand_in import panorama

from mmifn.core.errors import UserError
from mmifn.data.images import read_image
from mmifn.data.is_panorama import examine, sphere_in
from mmifn.data.kinds import alike_columns, found_again
from mmifn.data.placement import place, read_spheres
from mmifn.data.poles import _changes, _step, no_sphere
from mmifn.data.seam import gaps, reduced
from mmifn.simulate.light import lens_weights, relit
from mmifn.simulate.rendered.panorama import render_scene


@pytest.fixture(scope="module")
def scene():
    return render_scene("plaza_01", 512)


def named(picture, *words):
    with pytest.raises(UserError) as caught:
        examine(picture, "x.jpg")
    message = str(caught.value)
    assert message.startswith("x.jpg is no equirectangular panorama but ") and "--projection equirectangular" in message
    assert all(word in message for word in words), message


# --- panoramas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("width", [128, 512, 2048])
def test_a_panorama_closes(seed, width):
    erp = panorama(width, seed)
    assert gaps(reduced(erp))[0] < 0.85 and examine(erp, "x") == [] and "edges meet" in sphere_in(erp)


@pytest.mark.parametrize("distort", [
    lambda x: x, lambda x: np.roll(x, 300, axis=1), lambda x: x[:, ::-1], lambda x: (x * 0.3).astype(np.uint8),
    lambda x: cv2.GaussianBlur(x, (0, 0), 4),  # across the edges of the picture, not around the sphere
    lambda x: (x + np.random.default_rng(0).normal(0, 25, x.shape)).clip(0, 255).astype(np.uint8),
    lambda x: cv2.imdecode(cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, 5])[1], 1),
    lambda x: cv2.resize(x, (256, 128), interpolation=cv2.INTER_AREA),
    lambda x: x.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)])  # fmt: skip
def test_distorted_panoramas_are_neither_doubted_nor_refused(distort, scene):
    assert examine(np.ascontiguousarray(distort(scene)), "x") == []


@needs_shared("panoramas")
@pytest.mark.parametrize("name", ["kloppenheim_02", "hamburg_hbf", "schadowplatz", "palermo_sidewalk", "zwinger_night"])
def test_photographed_panoramas_are_not_doubted(name):
    """Those that come nearest to the limits: patched ground, repeated roof, black sky, a contour beside the seam, night."""
    erp = cv2.resize(read_image(SHARED / "panoramas" / f"{name}.webp"), (1024, 512), interpolation=cv2.INTER_AREA)
    for quality in (95, 8):
        assert examine(cv2.imdecode(cv2.imencode(".jpg", erp, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), name) == []


@needs_shared("panoramas")
@pytest.mark.parametrize("name", ["zwinger_night", "wide_street_01", "portland_landing_pad"])
def test_panoramas_of_unlike_lenses_are_not_refused(name):
    """Where lenses meet at a pole a row that is one point is uneven, but the seam closes."""
    erp = cv2.resize(read_image(SHARED / "panoramas" / f"{name}.webp"), (512, 256), interpolation=cv2.INTER_AREA)
    gains = 2.0 ** (0.97 * np.array([1.0, -0.6, 0.2, -1.2, 1.2, -0.6])) @ lens_weights(512, 6, 8.0, 35.0)
    examine(relit(erp, gains), "x")


def test_an_edge_of_an_object_on_the_seam_is_no_gap(scene):
    """The lower half changes its brightness exactly where the picture ends, as tiles that meet there do."""
    erp = scene.copy()
    erp[300:, :40] = erp[300:, :40] // 2
    small = reduced(erp)
    middle, upper = gaps(small)
    assert upper > 1 and middle < 0.85 and examine(erp, "x") == []


@pytest.mark.parametrize("turn", [0, 240])
def test_where_a_quarter_is_missing_it_is_doubted_but_scored(turn, scene):
    (warning,) = examine(np.ascontiguousarray(np.roll(scene, turn, axis=1)[:, 256:]), "x")
    assert "left and right edges do not meet" in warning


def test_the_gap_by_hand():
    """Columns 0, 2, 4 … grey levels, the same in all rows: neighbours differ by 2, the seam by 2 * 127."""
    ramp = np.broadcast_to((np.arange(512.0) % 128 * 2)[None, :, None], (256, 512, 3)).astype(np.float32)
    middle, upper = gaps(ramp)
    assert middle == upper
    # Differences grow with the distance up to 8 columns (16 grey levels; beyond, 1/16 of the columns jump back by 254).
    shifts = {k: np.quantile(np.abs(ramp[0, :, 0] - np.roll(ramp[0, :, 0], k))[k:], 0.98) for k in (1, 2, 3, 4, 6, 8, 12, 16)}
    assert middle in {np.float32(254 / value) for value in shifts.values()}


# --- other pictures ----------------------------------------------------------------------------------------------------


def test_two_lenses(scene):
    named(two_lenses(scene), "dual fisheye", "--projection dual-fisheye", "v360=dfisheye:e")


def test_one_lens(scene):
    """A circle in the middle of a black picture; half a panorama on black is none."""
    named(one_lens(scene), "one round picture", "v360=fisheye:e")
    half = np.zeros_like(scene)
    half[:, 256:768] = scene[:, 256:768]
    assert place(half, "x")[0].share == pytest.approx(0.5, abs=0.03)


def test_a_seam_that_closes_does_not_make_a_panorama(scene):
    """The same panorama with its horizon where the poles should be, and a little planet: their edges meet as before."""
    turned = np.ascontiguousarray(np.roll(scene, 256, axis=0))
    seam = gaps(reduced(turned))
    assert seam == pytest.approx(gaps(reduced(scene)), abs=0.2) and seam[0] < 0.5
    evidence = [no_sphere(reduced(picture), gaps(reduced(picture))) for picture in (scene, turned)]
    assert evidence[0] < -10 and evidence[1] > 0
    named(turned, "no poles")
    named(projected(scene, "sg:h_fov=270:v_fov=200:pitch=-90"), "another projection")


def on_other_rows(erp, latitude):
    """The rows of a panorama (H, W, 3) where a projection has them: its latitude at -1..1 of the height."""
    height, width = erp.shape[:2]
    y = 0.5 * height - latitude(np.linspace(1, -1, height)) / np.pi * height - 0.5
    return cv2.remap(erp, *np.meshgrid(np.arange(width, dtype=np.float32), y.astype(np.float32)), cv2.INTER_CUBIC)


@pytest.mark.parametrize("latitude", [lambda t: np.arctan(np.sinh(t * np.pi / 2)), lambda t: np.arctan(t * np.pi / 2)])
def test_cylinders_and_mercator_are_named_though_their_edges_meet(latitude, scene):
    """Both of a whole turn, of which 2:1 show 66.5° and 57.5° up and down."""
    picture = on_other_rows(scene, latitude)
    assert gaps(reduced(picture))[0] < 0.85
    named(picture, "no poles", "v360=INPUT:e")


def test_half_a_cylinder_is_named(scene):
    named(projected(scene, "cylindrical:h_fov=180:v_fov=100"), "no poles")


def test_a_picture_that_is_none_is_at_least_doubted(monkeypatch, scene):
    """Evidence between the two limits."""
    monkeypatch.setattr("mmifn.data.is_panorama.no_sphere", lambda small, seam: -0.5)
    (warning,) = examine(scene, "x")
    assert "hardly the poles" in warning


def test_changes_beside_a_pole_by_hand():
    """Waves of one size along and across: four columns on they differ by 2 sin(2w) cos, from row to row by 2 sin(v/2) cos."""
    y, x = np.mgrid[:32, :512].astype(np.float64)
    w, v = 2 * np.pi * 16 / 512, 2 * np.pi / 4
    logs = 0.1 * np.cos(w * x) * np.cos(v * (y + 0.5))
    found = _changes(np.exp(logs + 4) - 16)[2]  # nine rows, cosines +-.707
    rows = np.cos(v * (np.arange(4, 13) + 0.5))
    steps = np.diff(np.cos(v * (np.arange(4, 14) + 0.5)))
    along = (0.2 * np.sin(2 * w)) ** 2 / 2 * rows.var(ddof=1) / 4
    across = 0.01 / 2 * np.square(steps).mean()
    assert found == pytest.approx(np.log((along + 3e-6) / (across + 1e-5)) / 2, abs=1e-6)
    shared = logs + 0.3 * np.sin(np.arange(512) * w)  # the same in all rows
    assert _changes(np.exp(shared + 4) - 16)[2] == pytest.approx(found, abs=1e-6)


def test_the_seam_of_a_part_is_judged_where_there_is_one(scene):
    """Bars above and below hide the poles, but not that the edges do not meet; without edges there is nothing to doubt."""
    for picture, doubts in ((scene.copy(), 0), (np.ascontiguousarray(scene[:, 256:]), 1)):
        picture[:60] = picture[-60:] = 0
        (sphere,) = place(picture, "x")
        assert sum("edges do not meet" in note for note in sphere.notes) == doubts and "black cap above" in sphere.notes[0]
        sides = np.zeros((256, 512), bool)
        sides[:, 128:384] = True
        assert examine(picture, "x", sides) == []


@pytest.mark.parametrize("make", [lambda erp: photograph(erp, 60),
                                  lambda erp: projected(erp, "sg:h_fov=270:v_fov=200:pitch=-90")])
def test_even_sides_do_not_make_a_panorama_of_what_is_between(make, scene):
    """They may be padding; rows of a part of a panorama end at the poles all the same, those of other pictures do not."""
    pictures = [make(scene), scene.copy()]
    for picture in pictures:
        picture[:, :150] = picture[:, -150:] = (70, 120, 200)
    with pytest.raises(UserError, match="an ordinary photograph or another projection"):
        place(pictures[0], "x")
    (sphere,) = place(pictures[1], "x")
    assert len(sphere.notes) == 1 and "105° of one-coloured at the sides" in sphere.notes[0]


@needs_shared("inputs")
@pytest.mark.parametrize("name", ["00_plain.jpg", "30_black_nadir.jpg", "62_icc_prophoto.jpg", "86_tile_edge_on_seam.jpg",
                                  "9c_scene.hdr"])
def test_a_chart_whose_halves_are_much_alike_is_no_pair_of_eyes(name):
    """Up to 69 % of the blocks of one half are found in the other."""
    (sphere,) = read_spheres(SHARED / "inputs" / name, name)
    assert not any("edges" in note for note in sphere.notes)


@needs_shared("clive")
def test_photographs_that_people_took_are_named():
    """Every twentieth, cut to 2:1. Those that pass have an even edge above and below, and the same at the left and the right."""
    paths = sorted((SHARED / "clive" / "images").iterdir())[::20]
    missed = []
    for path in paths:
        picture = read_image(path, panorama=False)
        height = min(len(picture), picture.shape[1] // 2)
        top = (len(picture) - height) // 2
        try:
            examine(np.ascontiguousarray(picture[top:top + height, :2 * height]), path.name)
        except UserError:
            continue
        missed.append(path.name)
    assert len(paths) > 30 and len(missed) <= 0.1 * len(paths), missed


def test_two_eyes_squeezed(scene):
    def eyes(size):
        return [cv2.resize(np.roll(scene, shift, axis=1), size, interpolation=cv2.INTER_AREA) for shift in (0, 8)]

    named(np.concatenate(eyes((1024, 256))), "one above the other", "--projection stereo-tb", "crop=iw:ih/2")
    named(np.concatenate(eyes((512, 512)), axis=1), "side by side", "--projection stereo-lr")


@pytest.mark.parametrize("shift", [2, 6, 14])
def test_eyes_half_a_pixel_apart(shift, scene):
    """As reduced, eyes of 1024 columns lie a quarter of the shift apart, between pixels."""
    pair = [cv2.resize(np.roll(scene, by, axis=1), (512, 512), interpolation=cv2.INTER_AREA) for by in (0, shift)]
    named(np.concatenate(pair, axis=1), "side by side")


def test_blocks_are_compared_until_it_is_known_that_too_few_are_found_again():
    picture = np.random.default_rng(0).normal(0, 30, (64, 256)).astype(np.float32)
    half = picture.copy()
    half[:, 128:] = picture[::-1, 128:]  # 32 of the 64 blocks
    assert found_again(picture, picture, 2, 0.9) == 1.0
    assert found_again(picture, half, 2) == found_again(picture, half, 2, 0.4) == 0.5
    assert found_again(picture, half, 2, 0.7) == 0.0


def test_two_half_spheres(scene):
    eyes = [np.roll(scene, shift, axis=1)[:, 256:768] for shift in (0, 8)]
    named(np.concatenate(eyes, axis=1), "VR180", "--projection vr180")


def test_photographs(scene):
    for yaw in (0, 100, -160):
        named(photograph(scene, yaw), "an ordinary photograph", "--perspective")
    named(np.concatenate([half := photograph(scene, 30)[:, :512], half[:, ::-1]], axis=1), "mirror image", "--perspective")


def test_an_object_before_a_backdrop():
    """Left and right edges agree in every row, which says nothing where all columns do."""
    picture = np.repeat(np.linspace(200, 90, 512)[:, None, None], 1024, axis=1).repeat(3, axis=2).astype(np.uint8)
    cv2.circle(picture, (512, 300), 110, (180, 60, 40), -1)
    named(picture, "an object before an even backdrop", "--perspective")
    assert sphere_in(picture) is None


def test_columns_are_alike_by_their_colours():
    picture = np.tile(np.float32([200, 60, 10]), (40, 50, 1))
    picture[:, 30:] = 255
    assert alike_columns(picture) == pytest.approx(0.6)


def test_so_many_blocks_with_texture_are_enough():
    noise = np.random.default_rng(0).normal(128, 30, (16, 24 * 16)).astype(np.float32)
    assert found_again(noise, noise, 2) == 1
    assert found_again(noise[:, 16:], noise[:, 16:], 2) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_a_gradient(turned):
    ramp = np.broadcast_to(np.arange(512, dtype=np.uint8)[:, None, None] // 2, (512, 1024, 3))
    named(ramp.swapaxes(0, 1).repeat(2, axis=1)[:512] if turned else ramp, "gradient")


@pytest.mark.parametrize("ink", [20, 235])
def test_a_page_of_text(ink):
    named(page(ink), "a page of text")


@pytest.mark.parametrize("level", [0, 90])
def test_one_colour(level):
    named(np.full((256, 512, 3), level, np.uint8), "all but one colour")
    almost = np.full((256, 512, 3), level, np.uint8) + np.random.default_rng(0).integers(0, 2, (256, 512, 3), dtype=np.uint8)
    named(almost, "all but one colour")


@pytest.mark.parametrize(("half", "wanted"), [(3.0, np.log(6 / 2 + 0.1)), (0.0, np.log(0.1)), (40.0, 2.0)])
def test_the_step_over_a_pole_is_in_steps_of_the_eight_rows_beside_it(half, wanted):
    """Rows 2 grey levels apart, whose halves, half a turn from each other, are twice `half` apart; a tenth row does not count."""
    rows = np.where(np.arange(512) < 256, half, -half)[None] + 2.0 * np.arange(256)[:, None]
    rows[9] += 500
    assert _step(100 + rows) == pytest.approx(wanted, abs=1e-9)
