"""Spherical geometry against closed forms, Pillow and py360convert."""

import math

import numpy as np
import py360convert
import pytest
import torch
from PIL import Image

from mmifn import sphere


def angle_deg(a, b):
    """Angle between rays, accurate where it is small."""
    return torch.rad2deg(2 * torch.asin(((a - b).norm(dim=-1) / 2).clamp(max=1)))


def ray(lon_deg, lat_deg):
    lon, lat = math.radians(lon_deg), math.radians(lat_deg)
    return torch.tensor([math.cos(lat) * math.sin(lon), math.sin(lat), math.cos(lat) * math.cos(lon)], dtype=torch.float64)


def expected_rays(lon_deg, lat_deg, fov_deg, size):
    """Forward, east and up at the centre of the view, and tangent-plane coordinates: the gnomonic projection by hand."""
    forward = ray(lon_deg, lat_deg)
    east = torch.tensor([math.cos(math.radians(lon_deg)), 0.0, -math.sin(math.radians(lon_deg))], dtype=torch.float64)
    up = torch.linalg.cross(forward, east)
    at = (2 * (torch.arange(size, dtype=torch.float64) + 0.5) / size - 1) * math.tan(math.radians(fov_deg / 2))
    rays = forward + at[None, :, None] * east - at[:, None, None] * up
    return rays / rays.norm(dim=-1, keepdim=True)


def coordinate_erp(height):
    """A smooth panorama whose colour is the direction: (x, y, z) mapped from -1..1 to 0..1."""
    return ((sphere.erp_directions(height, 2 * height) + 1) / 2).float().numpy()


def seen_rays(views):
    rays = views.permute(0, 2, 3, 1).double() * 2 - 1
    return rays / rays.norm(dim=-1, keepdim=True)


# --- rays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fov_deg", [40.0, 90.0, 110.0])
def test_a_view_spans_its_angle_on_the_tangent_plane(fov_deg):
    size = 2001
    row = sphere.viewport_directions(25, -40, fov_deg, size)[size // 2]
    span = float(angle_deg(row[0], row[-1]))
    assert span == pytest.approx(2 * math.degrees(math.atan(math.tan(math.radians(fov_deg / 2)) * (1 - 1 / size))), abs=1e-9)
    assert span == pytest.approx(fov_deg, abs=0.05)  # for 110 degrees, spacing by angle on the plane would give 88
    plane = row / (row @ ray(25, -40))[:, None]
    steps = (plane[1:] - plane[:-1]).norm(dim=1)
    assert float(steps.max() / steps.min()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("lon", "lat"), [(0, 0), (90, 0), (-135, 30), (179, -80), (12, 90), (0, -90)])
def test_rays_are_the_gnomonic_projection(lon, lat):
    found = sphere.viewport_directions(lon, lat, 75, 6)
    torch.testing.assert_close(found, expected_rays(lon, lat, 75, 6), atol=1e-12, rtol=0)


def test_what_a_headset_shows_of_a_panorama():
    shown = [sphere.seen_ppd(width) for width in (360, 2048, 4096, 8192)]
    assert shown == pytest.approx([1, 2048 / 360, 4096 / 360, 4096 / 360])
    assert sphere.seen_ppd(8192, headset_ppd=20) == 20 and sphere.seen_ppd(3600, headset_ppd=20) == 10


@pytest.mark.parametrize("fov_deg", [0, 180, -10, 200, float("nan")])
def test_impossible_angles_are_refused(fov_deg):
    with pytest.raises(ValueError, match="fov_deg"):
        sphere.viewport_directions(0, 0, fov_deg, 4)


def test_degrees_and_directions_are_inverse():
    lon, lat = torch.meshgrid(
        torch.linspace(-179, 179, 9, dtype=torch.float64), torch.linspace(-89, 89, 7, dtype=torch.float64), indexing="ij"
    )
    rays = sphere.degrees_to_directions(lon, lat)
    torch.testing.assert_close(rays[3, 2], ray(float(lon[3, 2]), float(lat[3, 2])))
    back = sphere.directions_to_degrees(rays)
    torch.testing.assert_close(back[0], lon)
    torch.testing.assert_close(back[1], lat)


def test_erp_pixels_lie_at_half_integers():
    rays = sphere.erp_directions(4, 8)
    torch.testing.assert_close(rays[0, 0], ray(-157.5, 67.5))
    torch.testing.assert_close(rays[3, 7], ray(157.5, -67.5))


@pytest.mark.parametrize("height", [1, 4, 33, 512])
def test_latitude_weights_sum_to_the_closed_form(height):
    weights = sphere.latitude_weights(height)
    assert float(weights.sum()) == pytest.approx(1 / math.sin(math.pi / (2 * height)), rel=1e-12)  # -> 2 height / pi
    assert torch.allclose(weights, weights.flip(0)) and weights.dtype == torch.float64


# --- where to look ---------------------------------------------------------------------------------------------------


def centre_rays(centres):
    return torch.stack([ray(float(lon), float(lat)) for lon, lat in centres])


def test_dodecahedron_vertices():
    centres = sphere.dodecahedron()
    rays = centre_rays(centres)
    angles = angle_deg(rays[:, None], rays[None])
    angles.fill_diagonal_(999)
    nearest = angles.sort(dim=1).values
    edge = math.degrees(math.acos(math.sqrt(5) / 3))  # 41.81
    torch.testing.assert_close(nearest[:, :3], torch.full((20, 3), edge, dtype=torch.float64), atol=1e-4, rtol=0)
    assert float(nearest[:, 3].min()) > edge + 20  # three neighbours each: 30 edges
    assert sorted({round(float(lat), 2) for lat in centres[:, 1]}) == [-52.62, -10.81, 10.81, 52.62]
    assert float(rays.sum(dim=0).norm()) < 1e-5


def test_other_samplers():
    lat = torch.deg2rad(sphere.fibonacci(20)[:, 1].double())
    torch.testing.assert_close(lat.sin(), 0.95 - 0.1 * torch.arange(20, dtype=torch.float64), atol=1e-6, rtol=0)  # equal areas
    turns = sphere.fibonacci(20)[1:, 0] - sphere.fibonacci(20)[:-1, 0]
    torch.testing.assert_close(turns % 360, torch.full((19,), 137.50776), atol=1e-3, rtol=0)  # the golden angle
    assert sphere.equator(8).tolist() == [[lon, 0.0] for lon in (0, 45, 90, 135, -180, -135, -90, -45)]
    angles = angle_deg(centre_rays(sphere.cube())[:, None], centre_rays(sphere.cube())[None])
    assert {round(float(angle)) for angle in angles.flatten()} == {0, 90, 180}


@pytest.mark.parametrize(("name", "count"), [("dodecahedron-20", 20), ("fibonacci-20", 20), ("equator-8", 8), ("cube-6", 6)])
def test_samplers_name_every_direction_once(name, count):
    centres = sphere.SAMPLERS[name]()
    assert centres.shape == (count, 2) and centres.dtype == torch.float32
    assert (centres[:, 0] >= -180).all() and (centres[:, 0] < 180).all() and (centres[:, 1].abs() <= 90).all()
    angles = angle_deg(centre_rays(centres)[:, None], centre_rays(centres)[None]) + 999 * torch.eye(count)
    assert float(angles.min()) > 30


def test_native_size():
    assert sphere.native_size_px(4096, 90) == 1304  # 4096 / (2 pi) * 2 tan 45
    assert sphere.native_size_px(13320, 40) == 1543


# --- views -----------------------------------------------------------------------------------------------------------

CENTRES = torch.tensor(
    [[0, 0], [180, 0], [-180, 0], [-100, 52.62], [30, -10.81], [77, 90], [0, -90], [-179, 85]], dtype=torch.float32
)


@pytest.mark.parametrize(("height", "size"), [(256, 64), (256, 200), (512, 32)])
def test_views_look_where_they_should(height, size):
    """Seam, poles, low-pass and all: the colour of every pixel is the direction that its ray has by hand, to sub-pixel."""
    views = sphere.render_viewports(coordinate_erp(height), CENTRES, 90, size)
    assert views.shape == (len(CENTRES), 3, size, size) and views.dtype == torch.float32
    wanted = torch.stack([expected_rays(float(lon), float(lat), 90, size) for lon, lat in CENTRES])
    worst = angle_deg(seen_rays(views), wanted).flatten(1).max(dim=1).values
    erp_pixel = 180 / height
    assert float(worst.max()) < 0.35 * max(erp_pixel, 90 / size)
    assert float(worst[1]) < 1.5 * float(worst[0]) + 1e-3  # looking at the seam is like looking ahead
    torch.testing.assert_close(views[1], views[2])  # 180 and -180 are one direction


@pytest.mark.parametrize(("lon", "lat"), [(0, 0), (170, 20), (-60, -52), (10, 90), (45, -75)])
def test_views_agree_with_py360convert(lon, lat):
    erp, size = coordinate_erp(512), 301
    ours = sphere.render_viewports(erp, torch.tensor([[lon, lat]]), 90, size)
    # py360convert puts its first and last pixel ON the edge of the view: the same pixels are 90 degrees wide after this
    edge_fov = math.degrees(2 * math.atan(math.tan(math.radians(45)) * (1 - 1 / size)))
    theirs = py360convert.e2p(erp, (edge_fov, edge_fov), lon, lat, (size, size), mode="bilinear")
    difference = angle_deg(seen_rays(ours)[0], seen_rays(torch.from_numpy(theirs.copy()).permute(2, 0, 1)[None])[0])
    pitch = math.degrees(2 / size)
    assert float(difference.max()) < 0.5 * pitch


@pytest.mark.parametrize(("fov_deg", "size"), [(90, 24), (60, 150)])
def test_a_yaw_of_the_panorama_is_a_yaw_of_the_view(fov_deg, size):
    erp = np.random.default_rng(0).random((64, 128, 3)).astype(np.float32)
    turned = np.roll(erp, 32, axis=1)  # a quarter turn to the east, over the seam
    centres = CENTRES + torch.tensor([90.0, 0.0])
    torch.testing.assert_close(
        sphere.render_viewports(turned, centres, fov_deg, size),
        sphere.render_viewports(erp, CENTRES, fov_deg, size),
        atol=2e-4,
        rtol=0,
    )


def stripes(height, cycles):
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * cycles * (np.arange(2 * height) + 0.5) / (2 * height))
    return np.broadcast_to(wave[None, :, None], (height, 2 * height, 3)).astype(np.float32)


def test_minified_views_do_not_alias():
    """Stripes finer than the view can show turn grey; those it can show keep their contrast."""
    ahead = torch.tensor([[0.0, 0.0]])
    fine = sphere.render_viewports(stripes(256, 210), ahead, 90, 16)  # the view's Nyquist limit is 25 cycles at its centre
    assert float(fine.std()) < 0.01 and float(fine.mean()) == pytest.approx(0.5, abs=0.01)
    coarse = sphere.render_viewports(stripes(256, 6), ahead, 90, 64)[0, 0, 32]
    assert float(coarse.max() - coarse.min()) > 0.95


def test_zone_plate_does_not_alias_in_a_panorama_made_smaller():
    at = (np.arange(1024) + 0.5) / 1024
    chirp = 0.5 + 0.5 * np.cos(2 * np.pi * 450 * (at - 0.5) ** 2)
    erp = np.broadcast_to(chirp[None, :, None], (512, 1024, 3)).astype(np.float32)  # up to 450 cycles a turn at the seam
    small = sphere.resize_erp(erp, 64, 128)[0, 32]  # shows up to 64
    frequency = np.abs(900 * ((np.arange(128) + 0.5) / 128 - 0.5))
    assert float(small[torch.from_numpy(frequency > 100)].sub(0.5).abs().max()) < 0.05
    assert float(small[torch.from_numpy(frequency < 40)].max()) > 0.95
    assert float(small[torch.from_numpy(frequency < 40)].min()) < 0.1


def test_detail_survives_at_native_resolution():
    view = sphere.render_viewports(stripes(256, 128), torch.tensor([[0.0, 0.0]]), 60, sphere.native_size_px(512, 60))
    middle = view[0, 0, view.shape[2] // 2]
    assert float(middle.max()) > 0.9 and float(middle.min()) < 0.1


def test_poles_are_averaged_over_their_oversampling():
    erp = np.full((128, 256, 3), 0.5, np.float32)
    erp[:4] = np.where(np.arange(256)[:, None] % 2, 1.0, 0.0)  # the finest stripes there are: far beyond any view of the pole
    pole = sphere.render_viewports(erp, torch.tensor([[0.0, 90.0]]), 20, 64)
    assert float((pole - 0.5).abs().max()) < 0.02
    assert float(sphere.render_viewports(erp, torch.tensor([[0.0, 0.0]]), 20, 64).std()) < 1e-6


def test_the_pole_is_crossed_to_the_other_side():
    erp = np.zeros((128, 256, 3), np.float32)
    erp[:, 64:192] = 1  # bright in front (longitude -90 to 90), dark behind
    up = sphere.render_viewports(erp, torch.tensor([[0.0, 90.0]]), 60, 64)[0, 0]
    assert float(up[60, 32]) > 0.99 and float(up[3, 32]) < 0.01  # looking up, what lies ahead is at the bottom


@pytest.mark.parametrize("lat_deg", [90.0, -90.0])
def test_nothing_happens_at_the_pole(lat_deg):
    """Across the pole x and z run on through zero: a view three pixels wide is point-symmetric and evenly stepped."""
    view = sphere.render_viewports(coordinate_erp(32), torch.tensor([[30.0, lat_deg]]), 3 * 180 / 32, 41)
    across = (view[0].permute(1, 2, 0) * 2 - 1)[..., [0, 2]]
    assert float((across + across.flip(0, 1)).abs().max()) < 1e-4
    steps = (across[:, 1:] - across[:, :-1]).norm(dim=-1)
    assert float(steps.max() / steps.min()) < 3  # an ERP continued wrongly beyond its edge stands still there


def test_pixel_types_agree():
    pixels = np.random.default_rng(1).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    from_bytes = sphere.render_viewports(pixels, CENTRES[:2], 90, 16)
    from_floats = sphere.render_viewports((pixels / 255).astype(np.float32), CENTRES[:2], 90, 16)
    from_tensor = sphere.render_viewports(torch.from_numpy(pixels / 255).permute(2, 0, 1).float(), CENTRES[:2], 90, 16)
    torch.testing.assert_close(from_bytes, from_floats, atol=1e-5, rtol=0)
    torch.testing.assert_close(from_bytes, from_tensor, atol=1e-5, rtol=0)
    assert from_bytes.min() >= 0 and from_bytes.max() <= 1


# --- resizing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(24, 48), (100, 200), (31, 62)])
def test_resize_is_pillows_bicubic_inside(height, width):
    erp = np.random.default_rng(2).random((64, 128, 3)).astype(np.float32)
    ours = sphere.resize_erp(erp, height, width)
    theirs = np.stack(
        [np.asarray(Image.fromarray(erp[..., c]).resize((width, height), Image.Resampling.BICUBIC)) for c in range(3)]
    ).clip(0, 1)
    edge = 8
    np.testing.assert_allclose(ours[:, edge:-edge, edge:-edge].numpy(), theirs[:, edge:-edge, edge:-edge], atol=2e-5)


@pytest.mark.parametrize("turn", [1, 5, 24])
def test_resize_is_seamless(turn):
    erp = np.random.default_rng(3).integers(0, 256, (64, 144, 3), dtype=np.uint8)
    small = sphere.resize_erp(erp, 32, 48)
    turned = sphere.resize_erp(np.roll(erp, 3 * turn, axis=1), 32, 48)
    torch.testing.assert_close(turned, small.roll(turn, dims=2), atol=1e-6, rtol=0)


def test_resize_keeps_flat_images_and_ranges():
    assert torch.allclose(sphere.resize_erp(np.full((50, 100, 3), 51, np.uint8), 17, 34), torch.tensor(0.2), atol=1e-6)
    hard = np.zeros((64, 128, 3), np.uint8)
    hard[:, ::16] = 255
    small = sphere.resize_erp(hard, 200, 400)
    assert small.min() >= 0 and small.max() <= 1 and small.dtype == torch.float32 and small.shape == (3, 200, 400)


@pytest.mark.parametrize("width", [2048, 4096, 8192])
def test_the_native_field_of_view_is_that_whose_native_size_it_is(width):
    """At the centre of a view d(angle) per pixel is 2 tan(fov / 2) / size; of the equator it is 2 pi / width."""
    for size_px in (100, 320, 640):
        fov_deg = sphere.native_fov_deg(width, size_px)
        assert 2 * math.tan(math.radians(fov_deg) / 2) / size_px == pytest.approx(2 * math.pi / width)
        assert sphere.native_size_px(width, fov_deg) == size_px


@pytest.mark.parametrize(("sampler", "fov_deg", "size"),
                         [("dodecahedron-20", 14.8, 160), ("equator-8", 90.0, 24), ("cube-6", 60.0, 24)])
def test_rows_that_no_view_reaches_are_left_out_and_missed_by_none(sampler, fov_deg, size):
    erp = np.random.default_rng(0).integers(0, 256, (180, 360, 3), dtype=np.uint8)
    centres = sphere.SAMPLERS[sampler]()
    rays = torch.stack([sphere.viewport_directions(lon, lat, fov_deg, size) for lon, lat in centres.tolist()])
    whole = sphere.prepare_erp(erp, fov_deg, size)
    assert torch.equal(sphere.render_viewports(erp, centres, fov_deg, size), sphere.sample_views(whole, rays))
    narrow = sphere.prepare_erp(erp, fov_deg, size, reach_deg=30.0)
    beyond = whole.shape[1] // 6  # the row of 60 degrees north
    assert narrow.shape == whole.shape and float(narrow[:, beyond].abs().max()) == 0.0 and float(whole[:, beyond].max()) > 0
