"""Models to ship: everything comes back as it was, and every other file is refused with the way to a right one."""

import dataclasses
import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stand_in import small_checkpoint

from mmifn.core.errors import ArtefactError, UserError
from mmifn.fusion.config import ModelConfig
from mmifn.scoring import model as shipped
from mmifn.scoring.interval import Calibration
from mmifn.scoring.model import Model, load_model, save_model, shipped_path
from mmifn.training.checkpoint import save_checkpoint

CALIBRATION = Calibration(0.9, 7.25, 16, 480, "simulated")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def parts_of(path):
    """Return the tensors and the metadata of a file."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def require_same(a, b):
    for field in dataclasses.fields(a):
        if field.name != "state":
            assert getattr(a, field.name) == getattr(b, field.name), field.name
            assert type(getattr(a, field.name)) is type(getattr(b, field.name))
    assert a.state.keys() == b.state.keys() and all(torch.equal(a.state[key], b.state[key]) for key in a.state)


@pytest.mark.parametrize("calibration", [
    CALIBRATION, None, dataclasses.replace(CALIBRATION, half_width=math.inf),
    dataclasses.replace(CALIBRATION, edges=(30.0, 50.0), half_widths=(2.0, math.inf, 9.0),
                        moves=(1.5,), factors=(1.0, 2.5))])  # fmt: skip
def test_round_trip(path, calibration):
    model = Model(small_checkpoint(), calibration, counts_size=calibration is None)
    assert Model(model.checkpoint, calibration).counts_size is False
    save_model(model, path)
    again = load_model(path)
    assert again.counts_size is model.counts_size
    require_same(again.checkpoint, model.checkpoint)
    assert again.calibration == calibration
    assert isinstance(again.checkpoint.split.train, tuple) and isinstance(again.checkpoint.model.level_widths, tuple)


def test_the_network_comes_back_and_gives_the_same_scores(path):
    from mmifn.fusion.inputs import Inputs

    checkpoint = small_checkpoint()
    save_model(Model(checkpoint, None), path)
    levels = tuple(torch.randn(2, 6, c) for c in (6, 8, 10))
    inputs = Inputs(torch.randn(2, 4, 10), torch.ones(2, 4, dtype=torch.bool), torch.randn(2, 10), torch.randn(2, 5, 12), levels)
    with torch.inference_mode():
        before, after = (each.network(torch.device("cpu"))(inputs) for each in (checkpoint, load_model(path).checkpoint))
    assert torch.equal(before, after) and before.shape == (2, 5)


def test_without_level_widths_too(path):
    checkpoint = small_checkpoint()
    checkpoint = dataclasses.replace(checkpoint, model=ModelConfig(variant="w/o text"))
    save_model(Model(checkpoint, None), path)
    assert load_model(path).checkpoint.model == ModelConfig(variant="w/o text")


def test_parameters_that_share_or_stride_their_memory_are_written(path):
    checkpoint = small_checkpoint()
    key = next(key for key, value in checkpoint.state.items() if value.dim() == 2)
    checkpoint.state[key] = checkpoint.state[key].T.contiguous().T
    save_model(Model(checkpoint, None), path)
    assert torch.equal(load_model(path).checkpoint.state[key], checkpoint.state[key])


def test_a_checkpoint_of_training_is_a_model_without_calibration(tmp_path):
    checkpoint = small_checkpoint()
    save_checkpoint(checkpoint, tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth")
    require_same(model.checkpoint, checkpoint)
    assert model.calibration is None


def refusal(path):
    with pytest.raises(ArtefactError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_files_are_refused_with_the_command_that_makes_them(path):
    assert "does not exist" in refusal(path) and "python tools/export_model.py" in refusal(path)
    assert "python train.py" in refusal(path.with_suffix(".pth"))
    path.mkdir()
    assert "does not exist" in refusal(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.05, 0.5, 0.99])
def test_truncated_files_are_refused(path, share):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged or not whole" in refusal(path) and "export_model.py" in refusal(path)


def test_other_schemas_are_refused(path):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    state, metadata = parts_of(path)
    for schema in ("model/0", "adapted encoder/1", None):
        other = {key: value for key, value in (metadata | {"schema": schema}).items() if value}
        save_file(state, path, other)
        assert f"found schema {schema}, wanted model/1" in refusal(path)
    save_file(state, path)  # no metadata at all
    assert "is not a model" in refusal(path)
    del metadata["digest"]  # which would be wrong, and is looked at first
    content = json.loads(metadata["checkpoint"]) | {"schema": "checkpoint/1"}
    save_file(state, path, metadata | {"checkpoint": json.dumps(content)})
    assert "found checkpoint/1, wanted checkpoint/2" in refusal(path)


@pytest.mark.parametrize("change", [
    {"checkpoint": "{"},
    {"checkpoint": "[1, 2]"},
    {"calibration": "{"},
    {"calibration": '{"level": 0.9}'},
    {"calibration": "7"},
    {"calibration": None},
    {"checkpoint": None},
])  # fmt: skip
def test_metadata_that_are_not_ours_are_refused(path, change):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    state, metadata = parts_of(path)
    save_file(state, path, {key: value for key, value in (metadata | change).items() if value})
    refusal(path)


@pytest.mark.parametrize(("part", "name"), [("model", "variant"), ("dims", "text"), ("split", "train"), ("scale", "sd")])
def test_parts_that_are_missing_or_unknown_are_refused(path, part, name):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    state, metadata = parts_of(path)
    del metadata["digest"]  # which would be wrong, and is looked at first
    content = json.loads(metadata["checkpoint"])
    content[part]["unheard_of"] = content[part].pop(name)
    save_file(state, path, metadata | {"checkpoint": json.dumps(content)})
    assert "is not whole" in refusal(path)


def test_parameters_of_another_network_are_refused(path):
    checkpoint = small_checkpoint()
    checkpoint.state.pop(next(iter(checkpoint.state)))
    save_model(Model(checkpoint, None), path)
    with pytest.raises(ArtefactError, match=r"do not fit its own configuration.*Missing key"):
        load_model(path).checkpoint.network(torch.device("cpu"))


def test_every_flipped_bit_of_the_content_is_found(path):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")  # after the header, where the parameters are
    for place in range(begin, len(content), (len(content) - begin) // 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        assert "digest" in refusal(path)
    damaged = content.replace(b'half_width\\": 7.25', b'half_width\\": 7.75')
    assert damaged != content
    path.write_bytes(damaged)
    assert "digest" in refusal(path)


def test_files_without_a_digest_are_read_and_the_shipped_one_has_one(path):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    state, metadata = parts_of(path)
    metadata.pop("digest")
    save_file(state, path, metadata)
    assert load_model(path).calibration == CALIBRATION
    for shipped_file in shipped.FOLDER.glob("*.safetensors"):
        assert len(parts_of(shipped_file)[1].get("digest", "")) == 64, shipped_file.name


def test_presets_without_a_model_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"'offline' \(there are: none\).*--checkpoint"):
        shipped_path("offline")
    for name in ("offline", "b"):
        (tmp_path / f"{name}.safetensors").touch()
    assert shipped_path("offline") == tmp_path / "offline.safetensors"
    with pytest.raises(UserError, match=r"'paper' \(there are: b, offline\)"):
        shipped_path("paper")


def test_a_failed_write_leaves_the_old_model(path, monkeypatch):
    save_model(Model(small_checkpoint(), CALIBRATION), path)
    before = path.read_bytes()

    def fail(state, metadata):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save", fail)
    with pytest.raises(OSError, match="No space"):
        save_model(Model(small_checkpoint(), None), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
