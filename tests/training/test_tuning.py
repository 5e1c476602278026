"""Encoders tuned end to end: what moves and what stays, resuming, and that evaluation uses what was tuned."""

import numpy as np
import pytest
import torch
from conftest import make_workspace, write_csv
from PIL import Image
from torch import nn

import evaluate
import train
from mmifn.cli.flags import chosen_config
from mmifn.core.errors import ArtefactError, UserError
from mmifn.data.manifest import read_manifest
from mmifn.encoders import networks
from mmifn.encoders.encode import encode_globals, encode_viewports
from mmifn.encoders.encoder import HALF, Encoder, Family, freeze
from mmifn.encoders.extent import blocks_wished
from mmifn.encoders.pictures import open_encoders, open_pictures
from mmifn.encoders.pooling import mean_std, pool_erp_grid
from mmifn.encoders.presets import Preset
from mmifn.encoders.tunable import blocks_of, make_tunable, put_in_place, tuned_state
from mmifn.encoders.vmamba import build_vmamba
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import load_database
from mmifn.scoring.model import Model, load_model, save_model
from mmifn.training import tuning as tuning_module
from mmifn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mmifn.training.configs import Config, TrainConfig, Tuning
from mmifn.training.fit import fit_all, image_scores
from mmifn.training.trial import Trial
from mmifn.training.tuning import EndToEnd, opened, tune

CPU = torch.device("cpu")
MODEL = ModelConfig(level_widths=(8, 8, 8), lit_hidden=8, width=8, heads=2, dropout=0.0)
TRAIN = TrainConfig(epochs=2, branch_epochs=1, batch_size=8)
PRESET = Preset("", "made up text", "tiny", "tiny", (90.0,), (32,), erp_height_px=128)
SMALL = ["--config", "compact", "--epochs", "1", "--branch-epochs", "0", "--batch-size", "8", "--device", "cpu"]


class Block(nn.Module):
    """A convolution that mixes channels behind one that does not."""

    def __init__(self, width):
        super().__init__()
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x):
        return x + self.mix(self.spread(x).relu())


class Tiny(nn.Module):
    """A stem, three blocks, and a head that nobody asks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, stride=4)
        self.blocks = nn.Sequential(*(Block(12) for _ in range(3)))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.blocks(self.stem(x))


def tiny():
    torch.manual_seed(7)
    return Tiny()


def tiny_views(name, weights, device):
    network, digest = freeze(tiny(), device)
    return Encoder(name, digest, {"pool": "mean+std"}, device, *HALF, lambda images: mean_std(network(images)), network)


def tiny_erp(name, weights, device, grid, wrap_px):
    network, digest = freeze(tiny(), device)
    settings = {"grid": list(grid), "wrap_px": wrap_px}
    return Encoder(name, digest, settings, device, *HALF, lambda images: [pool_erp_grid(network(images), grid)] * 3, network)


@pytest.fixture
def pixels(tmp_path, monkeypatch):
    """OIQA of 6 scenes x 5 strengths of noise, with pictures, encoded by the tiny networks; its workspace."""
    family = Family(tiny_views, tiny_erp, ("tiny",), ("tiny",))
    monkeypatch.setattr(networks, "FAMILIES", (family, *networks.FAMILIES))
    space = make_workspace(tmp_path, types=("GN",), levels=5)
    manifest, rng = read_manifest(space.manifest("OIQA"), "OIQA"), np.random.default_rng(1)
    folder = space.images_dir("OIQA")
    folder.mkdir(parents=True)
    rows = []
    for name in manifest.names:
        scene, strength = int(name[1]), int(name[-5])
        base = np.kron(np.random.default_rng(scene).integers(80, 170, (8, 16, 3)), np.ones((16, 16, 1)))
        picture = (base + rng.normal(0, 8 * strength, base.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / name)
        rows.append([name, 90 - 12 * strength + scene, "GN", f"s{scene}", strength])
    write_csv(space.manifest("OIQA"), ["image_name", "MOS", "distortion_type", "reference", "level"], rows)
    manifest = read_manifest(space.manifest("OIQA"), "OIQA")
    encode_viewports(space, manifest, PRESET, tiny_views("tiny", None, CPU), write_pngs=False, max_megapixels=1)
    encode_globals(space, manifest, PRESET, tiny_erp("tiny", None, CPU, PRESET.grid, 0), max_megapixels=1)
    return space


def trial_of(space, **tuning):
    config = Config(MODEL, TRAIN, Tuning(**{"what": "lora", "epochs": 2, "rate": 3e-3, "rank": 2, "images": 4} | tuning))
    return Trial.drawn(load_database(space, "OIQA"), "reference", config, 0)


def tuned(space, journal=None, tick=None, **tuning):
    trial = trial_of(space, **tuning)
    return trial, *tune(fit_all(trial, CPU), trial, CPU, journal, tick)


# --- what is tuned ---------------------------------------------------------------------------------------------------


def test_a_low_rank_update_is_the_product_of_its_factors():
    network = nn.Sequential(nn.Linear(3, 3, bias=False))
    start = network[0].weight.detach().clone()
    make_tunable(network, "x", "lora", 1)
    assert torch.equal(network[0].weight, start)  # B starts at zero
    [update] = network[0].parametrizations.weight
    with torch.no_grad():
        update.a.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        update.b.copy_(torch.tensor([[1.0], [0.0], [-1.0]]))
    by_hand = torch.tensor([[2.0, 4.0, 6.0], [0.0, 0.0, 0.0], [-2.0, -4.0, -6.0]])  # twice the outer product
    assert torch.allclose(network[0].weight, start + by_hand)


def test_blocks_are_found_in_networks_of_any_nesting():
    """VMamba-T has 2+2+8+2 of them in stages, our own three in a row."""
    assert len(blocks_of(build_vmamba("vmamba_tiny_s1l8"))) == 14
    assert len(blocks_of(tiny())) == 3


def test_the_last_blocks_are_those_and_what_lies_behind():
    network = tiny()
    make_tunable(network, "tiny", "last-1", 0)
    names = [name for name, value in network.named_parameters() if value.requires_grad]
    assert names == [name for name, _ in network.named_parameters() if name.startswith(("blocks.2.", "head."))]


@pytest.mark.parametrize("what", ["", "last-", "last-0", "last-x", "first-2", "LORA"])
def test_other_wishes_are_refused(what):
    with pytest.raises(UserError, match="wanted lora, last-N"):
        blocks_wished(what)


def test_more_blocks_than_there_are_are_refused():
    with pytest.raises(UserError, match="tiny has 3 blocks"):
        make_tunable(tiny(), "tiny", "last-4", 0)
    with pytest.raises(UserError, match="no matrix of tiny is larger than --lora-rank 50"):
        make_tunable(tiny(), "tiny", "lora", 50)


def test_tuned_weights_of_another_network_are_refused():
    network = tiny()
    make_tunable(network, "tiny", "last-1", 0)
    with pytest.raises(ArtefactError, match=r"blocks.9.mix.weight: not part of the network"):
        put_in_place(network, "tiny", {"blocks.9.mix.weight": torch.zeros(1)})
    with pytest.raises(ArtefactError, match=r"file \(1,\), network \(12,\)"):
        put_in_place(network, "tiny", {"blocks.2.mix.bias": torch.zeros(1)})


@pytest.mark.parametrize("what", ["lora", "last-1", "all"])
def test_the_loss_falls_and_only_what_is_tuned_moves(pixels, what):
    trial, fit, encoders, weights = tuned(pixels, what=what, epochs=6, rate=3e-3)
    losses = [row["loss"] for row in fit.curve[-6:]]
    assert losses[-1] < losses[0]
    assert 2 <= len(fit.curve) - 6 == TRAIN.epochs and fit.epoch >= 1
    start = tiny().state_dict()
    for encoder, state in ((encoders.views, weights.views), (encoders.whole, weights.whole)):
        now = {key.replace("parametrizations.weight.original", "weight"): value
               for key, value in encoder.network.state_dict().items() if not key.endswith((".a", ".b"))}
        moved = {key for key in start if not torch.equal(start[key], now[key])}
        wanted = {"lora": (), "last-1": ("blocks.2.",), "all": ("stem.", "blocks.")}[what]
        assert moved <= {key for key in start if key.startswith(wanted or ("nothing",))}
        assert not any(key.startswith("head.") for key in state)  # nobody asks it, so it is neither tuned nor kept
        assert all(key.endswith((".a", ".b")) for key in state) if what == "lora" else set(state) >= moved
        if fit.epoch > trial.config.train.epochs:  # an epoch of the tuning was the best
            assert moved or any(value.abs().max() > 0 for key, value in state.items() if key.endswith(".b"))


def test_activations_are_computed_again_without_changing_a_gradient(pixels, monkeypatch):
    trial = trial_of(pixels)
    pictures = open_pictures(pixels, trial.database.manifest)
    seen, gradients = [pictures[0], pictures[1]], []
    for at_once in (20, 7):
        monkeypatch.setattr(tuning_module, "VIEWS_AT_ONCE", at_once)
        encoders = EndToEnd(*open_encoders(pixels, "OIQA", CPU, None, None))
        encoders.views.network.requires_grad_(True)
        inputs = encoders.inputs(seen, trial.database.inputs[[0, 1]])
        inputs.views.square().sum().backward()
        gradients.append(encoders.views.network.stem.weight.grad)
    direct = tiny_views("tiny", None, CPU)
    direct.network.requires_grad_(True)
    views = torch.cat([one.views[0] for one in seen]).float() / 255
    direct.differentiable(views).square().sum().backward()
    for gradient in gradients:
        assert torch.allclose(gradient, direct.network.stem.weight.grad, rtol=1e-4, atol=1e-4)


# --- streams and stores ----------------------------------------------------------------------------------------------


def test_the_preset_is_found_again_and_pictures_give_the_features_of_the_caches(pixels):
    database = load_database(pixels, "OIQA")
    pictures = open_pictures(pixels, database.manifest)
    assert pictures.preset == PRESET
    encoders = EndToEnd(*open_encoders(pixels, "OIQA", CPU, None, None))
    rows = [3, 0]
    again = encoders.embedded(database, pictures, rows)
    assert torch.allclose(again.views, database.inputs.views[rows], atol=0.02)  # but for the rounding to 8 bits
    assert torch.allclose(again.levels[0], database.inputs.levels[0][rows], atol=0.02)
    assert torch.equal(encoders.embedded(database, pictures, rows).views, again.views)  # from what was kept


def test_a_picture_that_was_replaced_is_refused(pixels):
    database = load_database(pixels, "OIQA")
    pictures = open_pictures(pixels, database.manifest)
    Image.new("RGB", (256, 128)).save(pictures.paths[2])
    with pytest.raises(UserError, match=r"is not the picture that the features of OIQA were made of"):
        pictures[2]


def test_other_weights_than_those_of_the_caches_are_refused(pixels, monkeypatch):
    def other(name, weights, device):
        network, digest = freeze(Tiny(), device)
        return Encoder(name, digest, {"pool": "mean+std"}, device, *HALF, lambda images: mean_std(network(images)), network)

    monkeypatch.setattr(networks, "FAMILIES", (Family(other, tiny_erp, ("tiny",), ("tiny",)),))
    with pytest.raises(UserError, match=r"viewport_features.pt was made by tiny with other weights.*\n.*--viewport-weights"):
        open_encoders(pixels, "OIQA", CPU, None, None)


def test_a_stopped_tuning_goes_on_and_comes_to_the_same(pixels, tmp_path):
    _, whole, encoders, weights = tuned(pixels, tmp_path / "whole")
    journal, seen = tmp_path / "journal", []

    def stop(row):
        seen.append(row)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(pixels, journal, stop)
    assert journal.is_file() and len(seen) == 1
    _, resumed, _, again = tuned(pixels, journal, seen.append)
    assert len(seen) == 2  # one epoch before the stop, one after
    assert resumed.curve == whole.curve and resumed.epoch == whole.epoch
    assert all(torch.equal(value, again.views[key]) for key, value in weights.views.items())
    assert not journal.exists()
    state = tuned_state(encoders.views.network)
    assert state.keys() == weights.views.keys()


# --- checkpoints and scripts -----------------------------------------------------------------------------------------


def test_a_checkpoint_keeps_what_was_tuned(pixels, tmp_path):
    trial, fit, encoders, weights = tuned(pixels, what="all", rate=1e-2, epochs=3)
    weights.views["stem.bias"] += 1  # whatever epoch was best
    encoders.restore({"views": weights.views, "whole": weights.whole})
    wanted = image_scores(fit, encoders.database(trial.database).inputs)
    save_checkpoint(Checkpoint.of(fit, trial, weights), tmp_path / "a.pth")
    save_model(Model(load_checkpoint(tmp_path / "a.pth"), None), tmp_path / "a.safetensors")
    for back in (load_checkpoint(tmp_path / "a.pth"), load_model(tmp_path / "a.safetensors").checkpoint):
        assert back.config == trial.config
        fresh = opened(trial.database, back.tuned, CPU)
        fit.network = back.network(CPU)
        assert image_scores(fit, fresh.database(trial.database).inputs) == pytest.approx(wanted, abs=1e-9)
    assert np.abs(image_scores(fit, trial.database.inputs) - wanted).max() > 1e-3


def figures(text):
    return [line for line in text.splitlines() if line.startswith("OIQA test scenes")]


def test_train_tunes_and_evaluate_reads_its_checkpoint(pixels, capsys):
    root = ["--root", str(pixels.root)]
    flags = ["--tune-encoders", "last-1", "--tune-epochs", "1", "--tune-rate", "0.003"]
    assert train.main([*root, "--test-dataset", "none", *SMALL, *flags]) == 0
    said = capsys.readouterr().out
    assert "encoders tuned end to end (the last 1 blocks, 1 epochs of 4 panoramas a step, AdamW 0.003)" in said
    read = [*root, "--datasets", "OIQA", "--device", "cpu", "--checkpoint", str(pixels.checkpoint)]
    assert evaluate.main(read) == 0
    assert figures(capsys.readouterr().out) == figures(said) != []
    assert (pixels.results / "checkpoint_results.csv").is_file()
    assert evaluate.main([*read, "--datasets", "elsewhere"]) == 2


def test_evaluate_tunes_on_every_split(pixels, capsys):
    argv = ["--root", str(pixels.root), "--datasets", "OIQA", *SMALL, "--splits", "2", "--workers", "1",
            "--without-full-reference", "--without-statistics",
            "--tune-encoders", "lora", "--tune-epochs", "1", "--lora-rank", "2"]
    assert evaluate.main(argv) == 0
    assert "LoRA of rank 2, 1 epochs" in capsys.readouterr().out
    runs = sorted((pixels.results / "runs").iterdir())
    assert [path.suffix for path in runs] == [".pt", ".pt"]  # and no journal is left


def test_flags_that_mean_nothing_are_refused(pixels, capsys):
    for flags, word in ((["--tune-epochs", "3"], "--tune-epochs: nothing is tuned without --tune-encoders"),
                        (["--tune-encoders", "last-0"], "wanted lora"),
                        (["--tune-encoders", "lora", "--lora-rank", "0"], "--lora-rank must be at least 1"),
                        (["--tune-encoders", "all", "--tune-rate", "0"], "--tune-rate must be positive")):
        assert train.main(["--root", str(pixels.root), "--test-dataset", "none", *SMALL, *flags]) == 2
        assert word in capsys.readouterr().err


def test_a_checkpoint_is_scored_as_it_is(pixels, capsys):
    read = ["--root", str(pixels.root), "--datasets", "OIQA", "--device", "cpu", "--checkpoint", "nowhere.pth"]
    for flags, named in ((["--tune-encoders", "lora"], "--tune-encoders"), (["--lora-rank", "2"], "--lora-rank"),
                         (["--epochs", "3", "--protocol", "published"], "--epochs, --protocol")):
        assert evaluate.main([*read, *flags]) == 2
        assert f"error: {named}: without meaning beside --checkpoint" in capsys.readouterr().err
    assert evaluate.main(read) == 2  # alone it gets as far as the file
    assert "nowhere.pth does not exist" in capsys.readouterr().err


def test_nothing_is_tuned_unasked():
    args = train.build_parser().parse_args([])
    assert chosen_config(args).tuning is None
    assert Tuning("lora").learning_rate == 1e-4 and Tuning("last-2").learning_rate == 1e-5
