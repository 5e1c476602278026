"""Small networks that learn from a teacher: their patches, the loss by hand, batches, resuming, and what the file says."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmifn.adapt import distil as training
from mmifn.adapt import patches as making
from mmifn.adapt.patches import Patches, make_part
from mmifn.adapt.samples import KINDS, TARGETS, Samples
from mmifn.adapt.scenes import of_teacher
from mmifn.adapt.settings import PATCHES_A_PICTURE, SIDES, Making, Patching
from mmifn.core.errors import UserError
from mmifn.encoders.adapted import BACKBONES, load_adapted
from mmifn.simulate.draws import Draw
from mmifn.simulate.panoramas import Scene

CPU = torch.device("cpu")
FEW = {64: (2, 3), 96: (1, 2)}


def scene(name, location):
    return Scene(name, location, None)


# --- scenes ----------------------------------------------------------------------------------------------------------


def test_a_pupil_knows_the_places_of_its_teacher_and_no_others():
    scenes = [scene("pier", "pier"), scene("pier_at_night", "pier"), scene("hall", "hall"), scene("wood", "wood"),
              scene("lake", "lake")]
    train, looked_at = of_teacher(scenes, ["pier", "wood", "gone"], ["hall"], "it")
    assert [picture.name for picture in train] == ["pier", "pier_at_night", "wood"]
    assert [picture.name for picture in looked_at] == ["hall"]
    with pytest.raises(UserError, match=r"none of the 5 panoramas is of a place that it was looked at with; .*:\n.*moon"):
        of_teacher(scenes, ["pier"], ["moon"], "it")


# --- patches ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    for module in (making, training):
        monkeypatch.setattr(module, "SIDES", FEW)


def test_a_part_has_patches_of_every_size_with_what_is_true_of_them(tmp_path, few):
    scenes = [scene("synthetic_1", "a"), scene("synthetic_2", "b")]
    scenes = [dataclasses.replace(picture, name=name) for picture, name in zip(scenes, _rendered(), strict=True)]
    part = make_part(scenes, Patching(parts=2), 0, tmp_path, 1)
    assert {side: tuple(patches.views.shape) for side, patches in part.items()} == {64: (12, 3, 64, 64), 96: (4, 3, 96, 96)}
    for patches in part.values():
        kinds, (mos, gmsd, ssim) = patches.true[:, :len(KINDS)], patches.true[:, len(KINDS):].T
        assert ((kinds == 0) | (kinds == 1)).all() and (kinds.sum(dim=1) <= 2).all()
        assert mos.isnan().all()  # rendered panoramas are 1024 px wide: nobody's scores are for that
        assert (gmsd >= 0).all() and (ssim <= 1).all()
    for patches, count in ((part[64], 3), (part[96], 2)):  # those of one region share what was done to it
        for region in patches.true[:, :len(KINDS)].split(count):
            assert (region == region[0]).all()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert torch.equal(make_part(scenes, Patching(parts=2), 0, tmp_path, 1)[64].views, part[64].views)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    other = make_part(scenes, Patching(parts=2), 1, tmp_path, 1)
    assert not torch.equal(other[64].views, part[64].views)
    next(tmp_path.glob("*.0.*")).write_bytes(b"torn")
    assert torch.equal(make_part(scenes, Patching(parts=2), 0, tmp_path, 1)[96].views, part[96].views)


def _rendered():
    from mmifn.simulate.rendered.panorama import scene_names

    return scene_names()[:2]


@pytest.mark.parametrize(("width", "zoom", "known"), [(2048, 1.0, True), (2048, 0.5, False), (4096, 1.0, False)])
def test_scores_of_people_are_for_one_scale(monkeypatch, width, zoom, known):
    monkeypatch.setattr(making, "draw", lambda rng, width_px: Draw((("BAND", 8.0),), 41.5))
    pixels = np.random.default_rng(0).integers(0, 256, (width // 2, width, 3), dtype=np.uint8)

    class Fixed:
        random = staticmethod(lambda: {1.0: 0.1, 0.5: 0.5}[zoom])
        integers = staticmethod(np.random.default_rng(1).integers)
        uniform = staticmethod(np.random.default_rng(1).uniform)

    views, true = making._region(pixels, 64, 2, Fixed())
    assert views.shape == (2, 3, 64, 64) and len(true) == 2
    assert (true[:, -3] == 41.5).all() if known else true[:, -3].isnan().all()
    assert true[0, KINDS.index("BAND")] == 1 and true[:, :len(KINDS)].sum() == 2
    if zoom == 1:  # eight values of each channel are left, and nothing is resampled
        assert {int(value) for value in views.unique()} <= {round(255 * i / 7) for i in range(8)}


def test_a_region_goes_on_across_the_seam():
    rows, columns = np.mgrid[:128, :256]
    pixels = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    seen = set()
    for seed in range(20):
        region = making._cut(pixels, 32, np.random.default_rng(seed))
        assert region.shape == (32, 64, 3)
        assert (np.diff(region[..., 1].astype(int), axis=1) % 256 == 1).all() and (np.diff(region[..., 0], axis=0) == 1).all()
        seen.add(int(region[0, 0, 1]))
        centre = (int(region[0, 0, 0]) + 16 - 64) / 128 * 180
        assert abs(centre) <= 61
    assert len(seen) > 10


def test_blur_of_a_region_is_that_of_the_plane():
    pixels = np.zeros((64, 128, 3), dtype=np.uint8)
    pixels[32, 64] = 255
    sigma = 1.5
    blurred = making._distort(Draw((("GB", sigma),), None), pixels, np.random.default_rng(0)).astype(float)
    wanted = 255 * np.exp(-(np.hypot(*np.mgrid[-3:4, -3:4]) ** 2) / (2 * sigma ** 2)) / (2 * math.pi * sigma ** 2)
    np.testing.assert_allclose(blurred[29:36, 61:68, 0], wanted, atol=0.8)  # rounded to whole grey values
    np.testing.assert_allclose(blurred[..., 0], blurred[..., 0][::1, ::-1][:, np.r_[127, 0:127]], atol=0)


# --- the loss and the order of the batches ---------------------------------------------------------------------------


def targets(*scores, kinds=()):
    return torch.tensor([[float(kind in kinds) for kind in KINDS] + list(scores)])


def test_the_loss_by_hand():
    # Scores as they are learnt: people's as they are, GMSD's root, the root of what SSIM lacks.
    standard = training.Standard((torch.tensor([0.0, 1, 2]), torch.tensor([1.0, 2, 4])),
                                 (torch.tensor([50.0, 0.2, 0.5]), torch.tensor([10.0, 0.1, 0.2])))
    taught, true = targets(0.5, 3.0, 4.0), targets(60.0, 0.09, 0.75, kinds=("JPEG",))
    outputs = torch.zeros(1, len(TARGETS))
    # Taught, standardised: .5, 1, .5; smooth L1 with beta .5 of these: .25, .75, .25. The kinds' logits of 0: ln 2 at best.
    by_teacher = 2 * math.log(2) + (0.25 + 0.75 + 0.25) / 3
    # True: (60-50)/10 = 1, (.3-.2)/.1 = 1, (.5-.5)/.2 = 0.
    by_truth = 2 * math.log(2) + (0.75 + 0.75) / 3
    for share in (0.0, 0.25, 1.0):
        loss = training.distil_loss(outputs, taught, true, standard, share)
        assert float(loss) == pytest.approx((1 - share) * by_teacher + share * by_truth, rel=1e-5)
    true[0, -3] = torch.nan  # what is not known does not count
    loss = training.distil_loss(outputs, taught, true, standard, 1.0)
    assert float(loss) == pytest.approx(2 * math.log(2) + 0.75 / 2, rel=1e-5)


def test_the_standard_is_of_patches_of_which_both_are_known():
    true = torch.cat([targets(40.0, 0.04, 0.96), targets(60.0, 0.16, 0.84), targets(math.nan, 0.36, 0.64)])
    taught = torch.cat([targets(1.0, 2.0, 3.0), targets(3.0, 4.0, 9.0), targets(99.0, 6.0, 6.0)])
    standard = training.Standard.fit(taught, true)
    torch.testing.assert_close(standard.taught[0], torch.tensor([2.0, 4.0, 6.0]))
    torch.testing.assert_close(standard.true[0], torch.tensor([50.0, 0.4, 0.4]))
    torch.testing.assert_close(standard.true[1], torch.tensor([10.0, (0.08 / 3) ** 0.5, (0.08 / 3) ** 0.5]))


def made_up_part(index, count=48):
    """Patches whose brightness is their quality: anything that learns at all learns that."""
    generator = torch.Generator().manual_seed(index)
    part = {}
    for side in FEW:
        quality = torch.rand(count, generator=generator)
        views = (quality[:, None, None, None] * 200 + 20 * torch.rand(count, 3, side, side, generator=generator)).byte()
        true = torch.zeros(count, len(TARGETS))
        true[:, 0] = (quality > 0.5).float()
        true[:, -3], true[:, -2], true[:, -1] = 20 + 50 * quality, 0.3 * (1 - quality), quality
        part[side] = Patches(views, true)
    return part


def test_every_patch_is_seen_once_an_epoch_and_every_batch_has_one_size(few, monkeypatch):
    monkeypatch.setattr(training, "SIDES", {64: (4, 6), 96: (2, 12)})  # 24 patches of each size and picture
    config = training.DistilConfig("vmamba_nano", 2, 1e-3, patching=Patching(parts=3), batch_size=16)
    parts = []
    course = training._Course(config, lambda index: parts.append(index) or made_up_part(index), pictures=2)
    assert course.per_part == training.batches_a_part(2, 16) == 6 and len(course) == 36
    batches = list(course.batches(0))
    assert len(batches) == len(course) and parts == [0, 1, 2, 0, 1, 2]
    assert {tuple(views.shape[1:]) for views, _ in batches} == {(3, 64, 64), (3, 96, 96)}
    scores = torch.cat([true[:, -3] for _, true in batches[:6]])
    everything = torch.cat([patches.true[:, -3] for patches in made_up_part(0).values()])
    torch.testing.assert_close(scores.sort().values, everything.sort().values)
    for later, whole in zip(course.batches(20), batches[20:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(later, whole, strict=True))


def test_a_square_lies_on_itself_in_eight_ways():
    views = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4)
    turned = [training._turned(views, symmetry) for symmetry in range(8)]
    assert torch.equal(turned[0], views) and len({tuple(way.flatten().tolist()) for way in turned}) == 8
    for way in turned:
        assert torch.equal(way.flatten(2).sort().values, views.flatten(2))


# --- the run ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(few, monkeypatch):
    monkeypatch.setattr(training, "SIDES", {64: (4, 12), 96: (4, 12)})
    monkeypatch.setattr(training, "make_part", lambda scenes, patching, part, folder, workers: made_up_part(part))
    held_out = made_up_part(99)[64]
    monkeypatch.setattr(training, "make_samples", lambda *_: {"hall": Samples(held_out.views, held_out.true)})
    monkeypatch.setattr(training, "of_teacher", lambda scenes, *_: (scenes[:1], scenes[1:]))
    return training.DistilConfig("vmamba_nano", 2, 3e-3, patching=Patching(parts=2), batch_size=16, average=0.8)


SCENES = [scene("synthetic_wood", "wood"), scene("hall", "hall")]


@pytest.mark.parametrize("encoder", ["vmamba_nano", "vit_nano"])
def test_a_pupil_learns_and_its_file_says_from_whom(tmp_path, config, encoder):
    config = dataclasses.replace(config, encoder=encoder, epochs=4)
    out = tmp_path / "w.safetensors"
    figures = training.distil(config, SCENES, Making(1), out, tmp_path, CPU)
    assert figures["srcc_mos"] > 0.9 and figures["srcc_gmsd"] > 0.9 and figures["kind_right"] > 0.9
    _, about = load_adapted(encoder, out)
    assert about["scenes"] == ["synthetic_wood"] and about["held_out_scenes"] == ["hall"] and about["held_out"] == figures
    assert about["config"]["teacher"] == "lite0_adapted" and about["steps"] == [48, 48]
    assert not list(tmp_path.glob("*.state.pt"))
    weights, teacher = load_file(out), load_adapted("lite0_adapted")[0].backbone.network.state_dict()
    place = {"vit_nano": "backbone.stem.", "vmamba_nano": "backbone.network.patch_embed.0."}[encoder]
    stem = {key.removeprefix(place): value for key, value in weights.items() if key.startswith(place)}
    assert len(stem) == 90 and all(torch.equal(value.half(), teacher[key].half()) for key, value in stem.items())


def test_a_pupil_looks_through_the_first_stages_of_its_teacher():
    teacher, _ = load_adapted("lite0_adapted")
    views = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lesson = training._Lesson(training.DistilConfig("vit_nano", 1, 1e-2), teacher, CPU)
    images = (views.float() / 255 - 0.5) / 0.5  # HALF: mean and SD of .5
    with torch.no_grad():
        first, wanted = teacher.backbone.network(images)[2], teacher(images)[1]
    torch.testing.assert_close(lesson.teach(lesson.normalise(views)), wanted, atol=0.1, rtol=0.05)  # bfloat16, where it is fast
    true = torch.cat([targets(40.0 + i, 0.04 * i, 0.9) for i in range(4)])
    lesson.take_standard([Patches(views, true)])
    before = {key: value.clone() for key, value in lesson.network.state_dict().items()}
    for _ in range(2):
        lesson.step(views, true, 0.5)
    torch.testing.assert_close(lesson.network.backbone(images)[0], first)  # as it was taught, after steps of training too
    changed = {key for key, value in lesson.network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if ".stem." not in key}


def test_a_killed_run_ends_as_if_it_had_not_been_and_leaves_weights_after_a_part(tmp_path, config, monkeypatch):
    config = dataclasses.replace(config, encoder="vit_nano", epochs=1)
    training.distil(config, SCENES, Making(1), tmp_path / "whole", tmp_path / "a", CPU)
    keep = training.keep

    def keep_and_stop(path, run, step, parts):
        keep(path, run, step, parts)
        if step == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_SAVE_EVERY", 4)
    monkeypatch.setattr(training, "keep", keep_and_stop)
    with pytest.raises(KeyboardInterrupt):
        training.distil(config, SCENES, Making(1), tmp_path / "cut", tmp_path / "b", CPU)
    assert load_adapted("vit_nano", tmp_path / "cut")[1]["steps"] == [6, 12]
    monkeypatch.setattr(training, "keep", keep)
    training.distil(config, SCENES, Making(1), tmp_path / "cut", tmp_path / "b", CPU)
    cut, whole = (load_file(tmp_path / name) for name in ("cut", "whole"))
    assert all(torch.equal(cut[key], whole[key]) for key in whole) and cut.keys() == whole.keys()
    assert load_adapted("vit_nano", tmp_path / "cut")[1] == load_adapted("vit_nano", tmp_path / "whole")[1]


def test_a_run_with_another_teacher_begins_anew(tmp_path, config, monkeypatch):
    runs = []
    monkeypatch.setattr(training, "take_up", lambda state, run, parts: runs.append(run))
    config = dataclasses.replace(config, encoder="vit_nano", epochs=1)
    teacher, known = load_adapted("lite0_adapted")
    for _ in range(2):
        training.distil(config, SCENES, Making(1), tmp_path / "w", tmp_path, CPU)
    with torch.no_grad():
        teacher.head.leave.bias += 1
    monkeypatch.setattr(training, "load_adapted", lambda name: (teacher, known))
    training.distil(config, SCENES, Making(1), tmp_path / "w", tmp_path, CPU)
    assert runs[0] == runs[1] != runs[2]


def test_bad_wishes_are_refused():
    for wish, message in (({"epochs": 0}, "--epochs 0: at least 1 is needed"),
                          ({"learning_rate": math.nan}, "--learning-rate nan: wanted a number above 0")):
        with pytest.raises(UserError, match=message):
            training.DistilConfig(**({"encoder": "vit_nano", "epochs": 1, "learning_rate": 1e-3} | wish))
    with pytest.raises(UserError, match="--parts 0: at least 1 is needed"):
        Patching(parts=0)


def test_the_pupils_see_enough_patches_of_sizes_that_they_are_used_at():
    pictures = 25
    assert pictures * PATCHES_A_PICTURE * 17 > 150_000 and PATCHES_A_PICTURE == 96 + 160 + 80 + 20 + 12
    assert min(SIDES) == 64 and max(SIDES) == 224
    assert {name for name, backbone in BACKBONES.items() if backbone.teacher} == {"vit_nano", "vmamba_nano"}
