"""The judge of photographs seen whole: kernel ridge against scikit-learn's, its file, and what it changes in a score."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.kernel_ridge import KernelRidge

from mmifn.adapt import photographs
from mmifn.adapt.opinions import Photographs
from mmifn.adapt.people import as_seen
from mmifn.adapt.photographs import RIDGE, features_of, fit, start, write_photographs
from mmifn.core.artefact import save_safetensors
from mmifn.core.errors import UserError
from mmifn.encoders.efficientnet_lite import LITE2, Lite0
from mmifn.encoders.people import normalise, open_people
from mmifn.encoders.photographs import FARTHEST, WIDTH, Neighbours, load_photographs, open_photographs
from mmifn.scoring.perspective import score_view


@pytest.fixture(scope="module")
def lite2(tmp_path_factory):
    """A file like that of the package, its values drawn, a classifier behind them."""
    torch.manual_seed(0)
    values = {f"a{i}": value for i, value in enumerate(Lite0(LITE2).state_dict().values())}
    path = tmp_path_factory.mktemp("lite2") / "lite2.pth"
    torch.save(values | {"classifier": torch.zeros(3)}, path)
    return path


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_the_judge_is_a_kernel_ridge_on_standard_features(lite2):
    features, mos, others = 3 * drawn(40, 2144) + 7, np.random.default_rng(0).uniform(0, 100, 40), 3 * drawn(50, 2144)[40:] + 7
    judge = start(40, lite2)
    fit(judge, features, mos)
    mean, sd = features.double().mean(dim=0), features.double().std(dim=0, correction=0)
    known, asked = (((x.double() - mean) / sd).clamp(-FARTHEST, FARTHEST).numpy() for x in (features, others))
    theirs = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=1 / (2 * WIDTH ** 2 * 2144)).fit(known, mos - mos.mean())
    assert judge.judge(others).numpy() == pytest.approx(theirs.predict(asked) + mos.mean(), abs=0.05)
    assert np.corrcoef(judge.judge(features).numpy(), mos)[0, 1] > 0.9


def test_a_judge_is_fitted_to_photographs_and_comes_back_from_its_file(lite2, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "as_seen", lambda pixels: as_seen(pixels, 64))
    for i in range(8):
        Image.fromarray(np.full((48, 64, 3), 30 * i, np.uint8)).save(tmp_path / f"{i}.png")
    rows, files = np.arange(8), tuple(tmp_path / f"{i}.png" for i in range(8))
    database = Photographs(files, 20.0 + 5 * rows, np.zeros(8))
    judge = start(len(rows), lite2)
    features = features_of(judge, database, rows)
    fit(judge, features, database.mos[rows])
    write_photographs(judge, {"photographs": len(rows)}, tmp_path / "judge.safetensors")
    again, about = load_photographs(tmp_path / "judge.safetensors")
    assert about["photographs"] == len(rows) == 8
    seen = torch.stack([as_seen(database.pixels(i), 64) for i in rows])
    assert np.corrcoef(again.features(normalise(seen)).detach().flatten(), features.flatten())[0, 1] > 0.98  # bfloat16
    assert again.judge(features).detach().numpy() == pytest.approx(judge.judge(features).numpy(), abs=0.1)


def test_other_weights_and_other_files_are_refused(lite2, tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth does not hold EfficientNet-Lite2"):
        start(4, tmp_path / "other.pth")
    save_safetensors({"weight": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"holds something else, wanted photographs/1[\s\S]*fit_photographs"):
        load_photographs(tmp_path / "x.safetensors")


def test_a_score_is_the_mean_of_both_judges_unless_an_angle_is_told():
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    seen = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    both = torch.cat([seen, seen.flip(3)])
    people, whole = float(open_people("cpu")(both).mean()), float(open_photographs("cpu")(both).mean())
    assert score_view(picture).score == pytest.approx((people + whole) / 2, abs=0.01)
    assert score_view(picture, fov_deg=60).score == pytest.approx(people, abs=0.01)
    assert score_view(picture).model != score_view(picture, fov_deg=60).model


def test_the_judge_of_the_package_read_the_photographs_of_four_folds():
    judge, about = load_photographs()
    assert about["photographs"] == len(judge.known) == 654
    assert isinstance(judge, Neighbours)
