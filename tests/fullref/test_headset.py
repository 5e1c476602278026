"""What observers saw: the resolution of views, what low-passing keeps and removes, and FSIM against its reference code."""

import math

import numpy as np
import pytest
import torch

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before piq)
from mmifn.fullref.headset import HeadsetReference, headset_fov, headset_views, view_size
from mmifn.simulate.rendered.panorama import render_scene, scene_names
from mmifn.sphere import HEADSET_PPD, resize_erp, viewport_directions

import piq  # isort: skip

LOW_PPD = 512 / 360  # a headset of few pixels: the tests' pictures are small
CENTRE = torch.tensor([[20.0, 5.0]])


@pytest.mark.parametrize(("size", "ppd"), [(256, HEADSET_PPD), (224, 22.0), (81, LOW_PPD)])
def test_the_centre_of_a_view_has_the_pixels_per_degree_of_the_headset(size, ppd):
    rays = viewport_directions(0, 0, headset_fov(size, ppd), size)
    middle = size // 2
    across = math.degrees(math.acos(float((rays[middle, middle] * rays[middle, middle - 1]).sum().clamp(max=1))))
    assert 1 / across == pytest.approx(ppd, rel=1e-4)


def test_views_are_256_pixels_and_never_span_more_than_90_degrees():
    assert view_size() == 256 and headset_fov() == pytest.approx(22.2, abs=0.05)
    assert view_size(LOW_PPD) < 256 and headset_fov(view_size(LOW_PPD), LOW_PPD) == pytest.approx(90, abs=0.5)


def test_detail_that_the_headset_cannot_show_is_gone_and_leaves_the_mean():
    stripes = np.zeros((1024, 2048, 3), np.uint8)
    stripes[::2] = 200  # a period of 2 pixels of 2048: 0.5 of a pixel of the headset
    seen = headset_views(stripes, CENTRE, 64, LOW_PPD)
    assert float(seen.mean()) == pytest.approx(100 / 255, abs=1e-3) and float(seen.std()) < 1e-3
    assert float(headset_views(stripes, CENTRE, 64, 2048 / 360).std()) > 0.1  # at its own resolution it is there


def test_the_small_and_the_enlarged_picture_are_one_to_the_headset_and_softer_than_the_whole():
    whole = render_scene(scene_names()[0], 256)
    small = (resize_erp(whole, 128, 256) * 255).round().byte().permute(1, 2, 0).numpy()
    enlarged = (resize_erp(small, 256, 512) * 255).round().byte().permute(1, 2, 0).numpy()
    reference = HeadsetReference(headset_views(whole, ppd=LOW_PPD))
    losses = [1 - float(reference.fsim(headset_views(each, ppd=LOW_PPD)).mean()) for each in (small, enlarged)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1) and losses[0] > 0.01
    assert float(reference.fsim(headset_views(whole, ppd=LOW_PPD)).mean()) == pytest.approx(1, abs=1e-6)


def test_fsim_is_that_of_the_reference_code():
    scene = render_scene(scene_names()[1], 256)
    noisy = np.clip(scene + np.random.default_rng(0).normal(0, 20, scene.shape), 0, 255).astype(np.uint8)
    first, second = (headset_views(each, torch.tensor([[0.0, 0.0], [70.0, 30.0]]), 128, 4.0) for each in (scene, noisy))
    found = HeadsetReference(first).fsim(second)
    torch.testing.assert_close(found, piq.fsim(first, second, data_range=1.0, reduction="none"), atol=2e-4, rtol=0)
    assert found.max() < 0.99
    torch.testing.assert_close(HeadsetReference(first).fsim(HeadsetReference(second)), found)


def test_the_other_metrics_are_piqs_per_view():
    views = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    other = (views * 0.8 + 0.1).clamp(0, 1)
    reference = HeadsetReference(views)
    torch.testing.assert_close(reference.gmsd(other), piq.gmsd(views, other, data_range=1.0, reduction="none"))
    assert reference.ssim(views) == pytest.approx([1, 1]) and (reference.ssim(other) < 1).all()
