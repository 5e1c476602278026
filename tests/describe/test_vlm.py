"""A real vision-language architecture, tiny, taught two sentences here, asked through the script on the CPU."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import generate_text
from mmifn.core import torchvision_shim as compat  # noqa: F401
from mmifn.core.errors import UserError
from mmifn.describe import vlm
from mmifn.describe.generation import Item
from mmifn.describe.settings import DEFAULT_MODEL, DEFAULT_PROMPT, VlmSettings
from mmifn.describe.table import read_rows
from mmifn.describe.vlm import VlmDescriber, refuse_old_qwen

DARK, BRIGHT = "The dark image is blurred everywhere . It is poor .", "A bright picture with clear noise . Quality is fair ."
SPECIAL = ["<pad>", "<|im_end|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
           "<unk>"]
TEMPLATE = ("{% for m in messages %}<|im_start|> {{ m['role'] }} {% for c in m['content'] %}{% if c['type'] == 'image' %}"
            "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %} <|im_end|>"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant{% endif %}")
FLAGS = ["--views", "1", "--view-size", "32", "--erp-height", "32", "--device", "cpu", "--source", "vlm"]


def build():
    """Return an untrained Qwen3-VL of 2 layers and its processor, made without any download."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    words = sorted({*f"{DARK} {BRIGHT} {DEFAULT_PROMPT}".split(), "user", "assistant"})
    ids = {word: i for i, word in enumerate(SPECIAL + words)}
    text = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    text.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=text, pad_token="<pad>", eos_token="<|im_end|>", unk_token="<unk>",
                                        additional_special_tokens=SPECIAL[2:7])
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10000.0}
    config = Qwen3VLConfig(
        text_config={"vocab_size": len(ids), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                     "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "rope_parameters": rope,
                     "max_position_embeddings": 4096, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8,
                       "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32,
                       "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"])
    torch.manual_seed(0)
    network = Qwen3VLForConditionalGeneration(config)
    network.generation_config.eos_token_id, network.generation_config.pad_token_id = 1, 0
    pixels = Qwen2VLImageProcessor(patch_size=8, merge_size=2, size={"shortest_edge": 256, "longest_edge": 1 << 20})
    return network, Qwen3VLProcessor(image_processor=pixels, tokenizer=tokenizer, chat_template=TEMPLATE,
                                     video_processor=Qwen3VLVideoProcessor(patch_size=8))


def teach(network, processor, conversations, answers):
    """Fit the network until it gives each conversation its answer."""
    processor.tokenizer.padding_side = "left"
    inputs = dict(processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=True, return_dict=True,
                                                processor_kwargs={"padding": True, "return_tensors": "pt"}))
    ids = [processor.tokenizer(f"{answer} <|im_end|>")["input_ids"] for answer in answers]
    wanted = torch.tensor([row + [0] * (max(map(len, ids)) - len(row)) for row in ids])
    for name, tail in (("input_ids", wanted), ("attention_mask", (wanted > 0).long()),
                       ("mm_token_type_ids", torch.zeros_like(wanted))):
        inputs[name] = torch.cat([inputs[name], tail], dim=1)
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, -wanted.shape[1]:] = torch.where(wanted > 0, wanted, -100)
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    for _ in range(200):
        loss = network(**inputs, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if loss.item() < 0.03:
            return
    raise AssertionError(f"the tiny model did not learn its sentences: {loss.item()}")


def panorama(level):
    return np.full((64, 128, 3), level, np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlm") / "tiny"
    image = folder.parent / "image.png"
    torch.set_num_threads(1)
    network, processor = build()
    processor.save_pretrained(folder)
    network.save_pretrained(folder)
    asker = VlmDescriber(str(folder), DEFAULT_PROMPT, torch.device("cpu"), VlmSettings(32, 1, 32))
    talks = []
    for level in (40, 200):
        Image.fromarray(panorama(level)).save(image)
        talks.append(asker._conversation(Item("image.png", image)))
    teach(network, processor, talks, [DARK, BRIGHT])
    network.save_pretrained(folder)
    return folder


@pytest.fixture
def root(tmp_path):
    images = tmp_path / "datasets" / "DS" / "images"
    images.mkdir(parents=True)
    rows = ["image_name,MOS,distortion_type"]
    for i, level in enumerate((40, 200, 40)):
        Image.fromarray(panorama(level)).save(images / f"{i}.png")
        rows.append(f"{i}.png,3,GN")
    (images.parent / "des.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(root, model, *more):
    return generate_text.main(["--root", str(root), "--dataset", "DS", "--model", str(model), *FLAGS, *more])


def texts(root):
    return [row.description for row in read_rows(root / "text" / "des.csv")]


def test_the_script_asks_the_model_and_resumes(root, model, monkeypatch, capsys):
    asked = []
    real = VlmDescriber._generate
    monkeypatch.setattr(VlmDescriber, "_generate", lambda self, talks, *rest: (asked.append(talks), real(self, talks, *rest))[1])
    assert run(root, model, "--limit", "1") == 0 and len(asked) == 1
    assert texts(root) == [DARK]
    assert run(root, model) == 0 and len(asked) == 3  # one conversation a batch; the first image is not asked again
    assert texts(root) == [DARK, BRIGHT, DARK]
    content = asked[0][0][0]["content"]
    assert [part["type"] for part in content] == ["image", "image", "text"] and content[-1]["text"].endswith(DEFAULT_PROMPT)
    assert [part["image"].size for part in content[:2]] == [(64, 32), (32, 32)]
    assert run(root, model) == 0 and len(asked) == 3
    row = read_rows(root / "text" / "des.csv")[0]
    assert (row.source, row.model) == ("vlm", "tiny") and len(row.revision) == 21
    assert "sees the panorama at up to 64x32 px and 1 viewports" in capsys.readouterr().err


def test_texts_do_not_depend_on_the_batch_size(root, model):
    run(root, model)
    one = texts(root)
    (root / "text" / "des.csv").unlink()
    assert run(root, model, "--batch-size", "3") == 0 and texts(root) == one


def test_another_prompt_or_budget_asks_again(root, model, capsys):
    run(root, model, "--limit", "1")
    first = read_rows(root / "text" / "des.csv")[0]
    run(root, model, "--limit", "1", "--view-size", "40")
    second = read_rows(root / "text" / "des.csv")[0]
    assert first.revision != second.revision and "replacing 1 of source vlm" in capsys.readouterr().err


def test_a_cut_answer_keeps_its_whole_sentences(root, model, capsys):
    assert run(root, model, "--max-new-tokens", "9") == 0  # DARK ends its first sentence after 7 tokens, BRIGHT too
    assert texts(root) == ["The dark image is blurred everywhere .", "A bright picture with clear noise .",
                           "The dark image is blurred everywhere ."]
    assert "3 answers ran into --max-new-tokens 9" in capsys.readouterr().err


def test_an_answer_without_a_whole_sentence_is_a_failure(root, model, capsys):
    assert run(root, model, "--max-new-tokens", "4") == 2
    assert "no whole sentence within --max-new-tokens 4" in capsys.readouterr().err and texts(root) == []


def test_viewports_get_rows_of_their_own_whatever_shares_their_batch(root, model):
    """A viewport is one image and a panorama two, so their prompts differ in length and are padded in one batch."""
    found = []
    for size in ("1", "21"):
        assert run(root, model, "--per-viewport", "--limit", "2", "--batch-size", size) in (0, 2)
        found.append({row.key: row.description for row in read_rows(root / "text" / "des.csv")})
        (root / "text" / "des.csv").unlink()
    assert found[0] == found[1] and {viewport for _, _, viewport in found[0]} > {""}


def test_out_of_memory_falls_to_single_images_and_is_reported(model, root, monkeypatch):
    real = VlmDescriber._generate

    def short_of_memory(self, talks, *rest):
        if len(talks) > 1 or np.asarray(talks[0][0]["content"][0]["image"]).mean() > 100:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(self, talks, *rest)

    monkeypatch.setattr(VlmDescriber, "_generate", short_of_memory)
    describer = VlmDescriber(str(model), DEFAULT_PROMPT, torch.device("cpu"), VlmSettings(32, 1, 32, 256, 3))
    images = root / "datasets" / "DS" / "images"
    found = [(answer.text, answer.failure[:18]) for answer in
             describer.describe([Item(f"{i}.png", images / f"{i}.png") for i in range(3)])]
    assert found == [(DARK, ""), ("", "CUDA out of memory"), (DARK, "")]


@pytest.mark.parametrize("name", ["Qwen/Qwen-VL-Chat", "Qwen/Qwen-VL", "qwen/qwen-vl-chat-int4", "/models/Qwen-VL-Chat/"])
def test_the_old_qwen_is_refused_by_name(name):
    with pytest.raises(UserError) as caught:
        refuse_old_qwen(name)
    assert "trust_remote_code" in str(caught.value) and DEFAULT_MODEL in str(caught.value)


def test_the_old_qwen_is_refused_in_a_local_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen", "visual": {}}))
    with pytest.raises(UserError, match="first Qwen-VL"):
        refuse_old_qwen(str(tmp_path))
    refuse_old_qwen("Qwen/Qwen2.5-VL-7B-Instruct")
    refuse_old_qwen(DEFAULT_MODEL)


def test_a_model_without_a_chat_template_cannot_be_asked(root, model, tmp_path, capsys):
    mute = shutil.copytree(model, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    assert run(root, mute) == 2
    assert "mute has no chat template, so it cannot be asked a question" in capsys.readouterr().err
    assert not (root / "text" / "des.csv").exists()


def test_a_model_that_takes_one_image_is_told_how_it_can_be_used(root, model, monkeypatch, capsys):
    def one_only(*_, **__):
        raise ValueError("one image per prompt")

    monkeypatch.setattr("transformers.Qwen3VLProcessor.apply_chat_template", one_only)
    assert run(root, model) == 2
    assert "does not take 2 images at once (one image per prompt); --views 0" in capsys.readouterr().err


def test_a_model_that_reads_no_images_is_a_message(root, tmp_path, capsys):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                         intermediate_size=8)).save_pretrained(tmp_path / "bert")
    assert run(root, tmp_path / "bert") == 2
    message = capsys.readouterr().err
    assert "could not be read" in message and "--source measured" in message and "Traceback" not in message


def test_an_unreachable_hub_names_the_ways_round(root, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(root, "nobody/no-such-model") == 2
    message = capsys.readouterr().err
    assert "could not be downloaded" in message and "--model DIR" in message and "--source measured" in message


def test_remote_code_is_never_run():
    error = vlm._unavailable("x/y", ValueError("Please pass the argument `trust_remote_code=True`"))
    assert "never done here" in str(error)
