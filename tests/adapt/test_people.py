"""Teaching by people: folds, losses against closed forms, and that the encoder learns and goes on after a stop."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mmifn.adapt import people
from mmifn.adapt.opinion_labels import RANGE, harm_of, label, unevenness
from mmifn.adapt.opinions import read_photographs
from mmifn.adapt.people import PeopleConfig, as_seen, correlation_loss, fidelity, judge, teach, write_people
from mmifn.core.errors import UserError
from mmifn.encoders.people import load_people
from mmifn.simulate.comparison import POWER, pool


@pytest.fixture
def opinions(tmp_path):
    """Forty flat pictures of a size, the brighter the better."""
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(40):
        Image.fromarray(np.full((48, 64, 3), 6 * i, np.uint8)).save(tmp_path / "images" / f"{i:02d}.png")
        rows.append({"file": f"{i:02d}.png", "MOS": 20 + i})
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path


def test_every_photograph_is_in_one_fold_of_five_and_the_seed_draws_them(opinions):
    first, other = read_photographs(opinions), read_photographs(opinions, seed=1)
    assert [len(first.rows(k)) for k in range(5)] == [8] * 5
    assert sorted(np.concatenate([first.rows(k) for k in range(5)])) == list(range(40))
    assert (first.fold == read_photographs(opinions).fold).all()
    assert (first.fold != other.fold).any()
    assert first.files[7].name == "07.png"
    assert first.mos[7] == 27
    assert (first.pixels(7) == 42).all()


def test_a_missing_picture_and_a_score_that_is_none_are_named(opinions):
    (opinions / "images" / "03.png").unlink()
    text = (opinions / "scores.csv").read_text().replace("05.png,25", "05.png,?")
    (opinions / "scores.csv").write_text(text)
    with pytest.raises(UserError, match=r"has 2 bad row[\s\S]*line 36: MOS '\?' is not[\s\S]*line 38: 03\.png is not in"):
        read_photographs(opinions)


def test_fidelity_is_the_square_root_of_thurstones_probability():
    better, worse, sd = torch.tensor([1.0]), torch.tensor([0.4]), 0.35
    seen = 0.5 * (1 + math.erf(0.6 / (sd * math.sqrt(2)) / math.sqrt(2)))
    assert float(fidelity(better, worse, sd)) == pytest.approx(1 - math.sqrt(seen), abs=1e-5)
    assert float(fidelity(worse, better, sd)) > float(fidelity(better, worse, sd))


def test_correlation_loss_is_half_of_one_less_pearsons():
    a, b = torch.randn(2, 30, generator=torch.Generator().manual_seed(0))
    assert float(correlation_loss(a, b)) == pytest.approx((1 - np.corrcoef(a, b)[0, 1]) / 2, abs=1e-5)
    assert float(correlation_loss(3 * a + 7, a)) == pytest.approx(0, abs=1e-6)


def test_a_photograph_is_seen_as_a_square_of_the_size():
    assert as_seen(np.full((50, 80, 3), 51, np.uint8), 32).shape == (3, 32, 32)
    assert as_seen(np.full((50, 80, 3), 51, np.uint8), 32).numpy() == pytest.approx(0.2, abs=1e-6)


def test_bad_views_are_pooled_with_the_exponent_and_good_ones_do_not_make_up_for_them():
    assert pool(np.full(20, 7.0)) == pytest.approx(7)
    assert pool(np.r_[np.full(5, 12.0), np.zeros(15)]) == pytest.approx(12 * 0.25 ** (1 / POWER))
    assert pool(np.r_[np.full(5, 12.0), np.full(15, -12.0)]) == pool(np.r_[np.full(5, 12.0), np.zeros(15)])


def test_an_even_change_of_light_costs_nothing_and_one_lens_of_six_about_14_points_a_stop():
    assert unevenness(np.full(20, -1.3)) == 0
    assert unevenness(np.r_[np.ones(4), np.zeros(20)]) == pytest.approx(14, abs=0.3)


def test_harms_add_by_their_squares_up_to_the_range():
    assert harm_of(3.0, 4.0) == pytest.approx(5)
    assert harm_of(60.0, 0.0) == RANGE
    assert label(0.0, 62.0, 17.5) == 62.0
    assert label(RANGE, 62.0, 17.5) == 17.5
    assert label(RANGE / 2, 62.0, 17.5) == pytest.approx((62 + 17.5) / 2)


def test_a_stopped_lesson_goes_on_to_the_same_weights_and_the_ladders_change_them(opinions, tmp_path, monkeypatch):
    monkeypatch.setattr(people, "_SIZES_PX", (64,))
    monkeypatch.setattr(people, "_SAVE_EVERY", 1)
    photographs, config = read_photographs(opinions), PeopleConfig(epochs=2, batch_size=8)
    rows, state = photographs.rows(0, 1, 2)[:16], tmp_path / "state.pt"
    ladders = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    stops = iter((False, True))

    def stop(_epoch, _network):
        if next(stops):
            raise KeyboardInterrupt

    whole = teach(config, photographs, rows, ladders, tmp_path / "other.pt", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        teach(config, photographs, rows, ladders, state, stop)
    again = teach(config, photographs, rows, ladders, state, lambda *_: None)
    alone = PeopleConfig(epochs=2, batch_size=8, ladder_weight=0)
    plain = teach(alone, photographs, rows, ladders, tmp_path / "plain.pt", lambda *_: None)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(whole.head.weight, plain.head.weight)
    scores = judge(whole, photographs, rows)
    assert np.corrcoef(scores, photographs.mos[rows])[0, 1] > 0.9  # learnt by heart
    write_people(whole, {"photographs": len(rows)}, tmp_path / "w.safetensors")
    loaded, about = load_people(tmp_path / "w.safetensors")
    assert about["photographs"] == 16
    assert judge(loaded, photographs, rows[:3]) == pytest.approx(scores[:3], abs=1.5)
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"not a readable safetensors file[\s\S]*adapt_to_people"):
        load_people(tmp_path / "w.safetensors")
