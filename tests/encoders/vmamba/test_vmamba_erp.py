"""The seam of an equirectangular image, open and closed."""

import pytest
import torch

from mmifn.core.errors import UserError
from mmifn.encoders.seam import crop_wrapped, pad_wrapped
from mmifn.encoders.vmamba import VMamba, VMambaConfig, wrapped_features


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VMamba(VMambaConfig((8, 16, 24, 32), (1, 1, 1, 1)), num_classes=2).eval()


def test_padding_continues_the_other_edge_and_cropping_undoes_it():
    row = torch.arange(8.0).view(1, 1, 1, 8)
    padded = pad_wrapped(row, 4)
    assert padded.flatten().tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]
    half = padded[..., ::2]  # a map of stride 2
    assert [m.flatten().tolist() for m in crop_wrapped([padded, half], 4, 8)] == [list(range(8)), [0, 2, 4, 6]]


@torch.no_grad()
def test_closed_seam_agrees_with_the_turned_image(model):
    """A panorama turned by half has its old seam in the middle, where nothing is cut: that is the truth there."""
    torch.manual_seed(1)
    erp = torch.rand(1, 3, 64, 256)
    turned = model.forward_features(erp.roll(128, -1))
    plain, closed = model.forward_features(erp), wrapped_features(model, erp)
    for truth, open_map, closed_map in zip(turned, plain, closed, strict=True):
        assert open_map.shape == closed_map.shape
        truth = truth.roll(-truth.shape[-1] // 2, -1)
        error_open, error_closed = ((m - truth)[..., [0, -1]].square().mean().item() for m in (open_map, closed_map))
        assert error_closed < 0.25 * error_open


@torch.no_grad()
def test_padding_of_zero_leaves_the_features(model):
    erp = torch.rand(1, 3, 32, 64)
    for plain, closed in zip(model.forward_features(erp), wrapped_features(model, erp, pad_px=0), strict=True):
        assert torch.equal(plain, closed)


@pytest.mark.parametrize("width, pad, found", [(65, 32, "found 65 and 32"), (64, 20, "found 64 and 20"),
                                               (32, 64, "32 pixels wide cannot")])
def test_sizes_that_would_shift_the_maps_are_refused(model, width, pad, found):
    with pytest.raises(UserError, match=found):
        wrapped_features(model, torch.rand(1, 3, 32, width), pad)
