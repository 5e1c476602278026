"""Weights files: what fits only in part is refused by name, for every kind of network; what fits has one hash."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmifn.core.errors import UserError
from mmifn.encoders.adapted import load_adapted, weights_file
from mmifn.encoders.networks import load_view_encoder
from mmifn.encoders.state import entry_of, read_state
from mmifn.encoders.text import load_text_encoder
from tools import convert_checkpoint

CPU = torch.device("cpu")
VIT = "vit_tiny_patch16_224.augreg_in21k"  # 12 blocks, as the paper preset's, and like it with a head of 21,843


@pytest.fixture(scope="module")
def vit_state():
    import timm

    torch.manual_seed(0)
    return timm.create_model(VIT, pretrained=False).state_dict()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT of 3 layers with its pooler and pre-training heads, as published ones are, in a folder."""
    from transformers import BertConfig, BertForPreTraining, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "blur", "."]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    BertForPreTraining(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def without(state, part):
    return {key: value for key, value in state.items() if part not in key}


def transformers_layout(state):
    renamed = {key.replace("blocks.", "encoder.layer.").replace("attn.", "attention."): value for key, value in state.items()}
    return {f"vit.{key}": value for key, value in renamed.items()}


def small_vit(state):
    import timm

    return timm.create_model("vit_small_patch16_224", pretrained=False).state_dict()


REFUSED_VITS = {
    "a block is missing": (lambda s: without(s, "blocks.11."), r"blocks\.11\.attn\.proj\.bias: missing"),
    "transformers' layout": (transformers_layout, r"blocks\.0\.attn\.proj\.bias: missing"),
    "another model": (small_vit, r"blocks\.0\.attn\.proj\.bias: file \(384,\), network \(192,\)"),
    "another head": (
        lambda s: {**s, "head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)},
        r"(?s)\(2 tensors differ\).*head\.weight: file \(1000, 192\), network \(21843, 192\)",
    ),
    "half a head": (lambda s: without(s, "head.bias"), r"\(1 tensors differ\):\n  head\.bias: missing"),
    "something more": (lambda s: {**s, "dist_token": torch.zeros(1)}, r"dist_token: not part of the network"),
}


@pytest.mark.parametrize("case", REFUSED_VITS)
def test_a_view_encoders_file_that_fits_in_part_is_refused(case, vit_state, tmp_path):
    change, message = REFUSED_VITS[case]
    save_file({key: value.contiguous() for key, value in change(vit_state).items()}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=message) as caught:
        load_view_encoder(VIT, CPU, tmp_path / "weights.safetensors")
    assert f"does not fit {VIT}" in str(caught.value) and "model.safetensors), unchanged" in str(caught.value)


def test_another_networks_file_is_refused_as_a_view_encoder(bert):
    with pytest.raises(UserError, match=r"(?s)blocks\.0\.attn\.proj\.bias: missing.*more"):
        load_view_encoder(VIT, CPU, bert / "model.safetensors")
    with pytest.raises(UserError, match=r"format of another library \(\.npz"):
        load_view_encoder(VIT, CPU, bert / "B_16.npz")


def test_a_right_view_encoder_has_one_hash_with_and_without_its_head(vit_state, tmp_path):
    save_file(vit_state, tmp_path / "whole.safetensors")
    torch.save({"model": without(vit_state, "head.")}, tmp_path / "body.pth")
    first, again = (load_view_encoder(VIT, CPU, tmp_path / "whole.safetensors") for _ in range(2))
    body = load_view_encoder(VIT, CPU, tmp_path / "body.pth")
    assert first.weights_sha256 == again.weights_sha256 == body.weights_sha256
    save_file({**vit_state, "norm.bias": vit_state["norm.bias"] + 1}, tmp_path / "other.safetensors")
    assert load_view_encoder(VIT, CPU, tmp_path / "other.safetensors").weights_sha256 != first.weights_sha256


def changed(bert, tmp_path, change):
    """A copy of the folder with other weights."""
    folder = tmp_path / "bert"
    folder.mkdir()
    for path in bert.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    state = change(load_file(folder / "model.safetensors"))
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def another_layer(state):
    return {**state, **{key.replace("layer.2.", "layer.3."): value.clone() for key, value in state.items() if "layer.2." in key}}


REFUSED_BERTS = {
    "a layer is missing": (lambda s: without(s, "layer.2."), r"encoder\.layer\.2\.attention\.output\.LayerNorm\.bias: missing"),
    "a layer too many": (another_layer, r"encoder\.layer\.3\.attention\.output\.LayerNorm\.bias: not part of the network"),
    "another width": (
        lambda s: {key: value[:, :8] if value.ndim == 2 and value.shape[1] == 16 else value for key, value in s.items()},
        r"embeddings\.word_embeddings\.weight: file \(7, 8\), network \(7, 16\)|position_embeddings\.weight: file \(512, 8\)",
    ),
    "another model": (lambda s: {"blocks.0.norm1.weight": torch.zeros(3)}, r"(?s)embeddings\.LayerNorm\.bias: missing.*more"),
}


@pytest.mark.parametrize("case", REFUSED_BERTS)
def test_a_text_encoders_files_that_fit_in_part_are_refused(case, bert, tmp_path):
    change, message = REFUSED_BERTS[case]
    with pytest.raises(UserError, match=message):
        load_text_encoder(str(changed(bert, tmp_path, change)))


def test_a_right_text_encoder_has_one_hash_with_and_without_its_pooler(bert, tmp_path):
    first, again = load_text_encoder(str(bert)), load_text_encoder(str(bert))
    bare = load_text_encoder(str(changed(bert, tmp_path, lambda s: without(s, "pooler"))))
    assert first.weights_sha256 == again.weights_sha256 == bare.weights_sha256
    assert torch.equal(first.run([[2, 5, 3]])[0], bare.run([[2, 5, 3]])[0])


def test_an_adapted_encoders_file_is_taken_whole(tmp_path):
    from safetensors import safe_open

    with safe_open(weights_file("lite0_adapted"), "pt") as file:
        metadata = file.metadata()
    state = load_file(weights_file("lite0_adapted"))
    gone = sorted(state)[0]
    save_file({key: value for key, value in state.items() if key != gone}, tmp_path / "w.safetensors", metadata)
    with pytest.raises(UserError, match=f"{gone}: missing"):
        load_adapted("lite0_adapted", tmp_path / "w.safetensors")


def test_it_is_said_which_entry_of_a_training_file_is_taken(tmp_path, capsys):
    tensors = {"a": torch.zeros(2)}
    both = {"model": tensors, "model_ema": {"a": torch.ones(2)}, "epoch": 3}
    assert entry_of(both) == ("model", ["model_ema"]) and entry_of(tensors) == ("", [])
    torch.save(both, tmp_path / "both.pth")
    assert torch.equal(read_state(tmp_path / "both.pth")["a"], tensors["a"])
    assert convert_checkpoint.main([str(tmp_path / "both.pth"), str(tmp_path / "out.safetensors"), "--allow-unpickling"]) == 0
    assert "1 tensors, taken from model; left out: model_ema" in capsys.readouterr().out
    torch.save({"model_ema": tensors}, tmp_path / "ema.pth")
    with pytest.raises(UserError, match="model_ema is left alone"):
        read_state(tmp_path / "ema.pth")
