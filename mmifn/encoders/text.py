"""Frozen text encoders: descriptions to token features, a mask and one pooled vector each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmifn.core.artefact import Provenance, sha256_tensors
from mmifn.core.device import feature_words
from mmifn.core.errors import UserError, first_line
from mmifn.core.files import sha256_json, sha256_text
from mmifn.core.progress import Progress
from mmifn.data.features import TextFeatures
from mmifn.encoders.minilm import NAME as MINILM
from mmifn.encoders.minilm import WIDTH, load_minilm
from mmifn.encoders.published import cached_hub_file, published_text, require_publisher
from mmifn.encoders.state import refuse_misfit

MAX_TOKENS = 128  # as in the method
# Tensors of published text models that are not of the encoder: what they were pre-trained or tuned to say.
HEADS = ("pooler.", "cls.", "lm_head.", "mlm.", "nsp.", "classifier.", "qa_outputs.", "vocab_")
# How token features become one vector: the mean over the words, or (any other encoder) the first token, `cls`.
POOLING = {MINILM: "mean"}


@dataclass(frozen=True)
class TextEncoder:
    """A frozen transformer with its tokenizer.

    settings: all that changes the values beside the weights; width: D of tokens and pooled vectors.
    """

    name: str
    weights_sha256: str
    settings: dict[str, Any]
    device: torch.device
    width: int
    tokenizer: Any = field(repr=False)
    network: Any = field(repr=False)

    def tokenize(self, text: str) -> tuple[list[int], bool]:
        """Return token ids with their special tokens, at most MAX_TOKENS, and whether the text was cut."""
        full = self.tokenizer(text, truncation=False, verbose=False)["input_ids"]
        if len(full) <= MAX_TOKENS:
            return full, False
        return self.tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"], True

    @torch.inference_mode()
    def run(self, ids: Sequence[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Encode token ids of B texts of ONE length L: tokens (B, L, D) and pooled (B, D), float32 on the CPU.

        One length at a time, so that no text's values depend on what it is batched with.
        """
        batch = torch.tensor(list(ids), device=self.device)
        tokens = self.network(input_ids=batch, attention_mask=torch.ones_like(batch)).last_hidden_state.float()
        pooled = tokens[:, 0] if self.settings["pool"] == "cls" else tokens.mean(dim=1)
        if self.settings["normalise"]:
            pooled = functional.normalize(pooled, dim=1)
        return tokens.cpu(), pooled.cpu(), torch.ones(tokens.shape[:2], dtype=torch.bool)


def load_text_encoder(name: str, device: torch.device | str = "cpu") -> TextEncoder:
    """Load a frozen text encoder.

    name: "minilm" (all-MiniLM-L6-v2 from its installed package, 384 dims, mean-pooled and normalised, as its authors
    use it), an identifier on the model hub, or a folder with a transformers model (pooled: its first token, [CLS]).
    Raises UserError where it cannot be read or downloaded, naming the way round.
    """
    tokenizer, network, width = _packaged() if name == MINILM else _published(name)
    network = network.float().eval().requires_grad_(False)
    pool = POOLING.get(name, "cls")
    settings = {"max_tokens": MAX_TOKENS, "pool": pool, "normalise": pool == "mean"}
    shown = Path(name).resolve().name if Path(name).is_dir() else name
    return TextEncoder(shown, sha256_tensors(network.state_dict()), settings, torch.device(device), width, tokenizer,
                       network.to(device))


def _packaged() -> tuple[Any, Any, int]:
    return *load_minilm(), WIDTH


def _published(name: str) -> tuple[Any, Any, int]:
    """Return the tokenizer, the network and its width of a folder, or of a name on the hub, by transformers."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from mmifn.core import torchvision_shim as compat  # noqa: F401  (before transformers, which may import torchvision)

    logging.disable_progress_bar()  # of reading weights that are there; it would stand between our own
    logging.set_verbosity_error()  # its table of keys, which the refusal below names
    local = Path(name).is_dir() or _cached(name)
    if not local:
        require_publisher(published_text(name))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
        network, report = AutoModel.from_pretrained(name, local_files_only=local, output_loading_info=True,
                                                    ignore_mismatched_sizes=True)  # they are refused by name below
    except Exception as error:
        raise UserError(f"the text encoder {name!r} could not be {'read' if local else 'downloaded'} "
                        f"({first_line(error)}).\nWithout a network: --preset offline, or --text-encoder "
                        "DIR with a local copy of a transformers model and its tokenizer.") from error
    if not tokenizer.is_fast and tokenizer.pad_token is None:
        raise UserError(f"the text encoder {name!r} has no usable tokenizer")
    _refuse_partial(network, report, name)
    network.pooler = None  # never run: texts are pooled here, and many published files have none
    return tokenizer, network, int(network.config.hidden_size)


def _cached(name: str) -> bool:
    """Tell whether the hub's client has a model from before; refuse what is neither a folder nor a name on the hub."""
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(f"--text-encoder {name}: no such folder")
    weights = ("model.safetensors", "pytorch_model.bin")
    return bool(cached_hub_file(name, "config.json")) and any(cached_hub_file(name, file) for file in weights)


def _refuse_partial(network: Any, report: dict[str, Any], name: str) -> None:
    """Refuse a text model whose weights were not all in its files; the pooler and heads of its pre-training do not count."""
    prefix = f"{network.base_model_prefix}."
    resized = [(key, found, wanted) for key, found, wanted in report["mismatched_keys"] if not key.startswith("pooler.")]
    missing = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    unexpected = [key for key in report["unexpected_keys"] if not key.removeprefix(prefix).startswith(HEADS)]
    refuse_misfit(name, f"its config.json ({type(network).__name__})", missing, unexpected, resized,
                  "Wanted: weights and config.json of one model, as published.")


def text_provenance(encoder: TextEncoder, inputs: dict[str, str]) -> Provenance:
    """Return how text features are made; inputs: image name -> SHA-256 of its description."""
    return Provenance(encoder.name, encoder.weights_sha256, encoder.settings, inputs, computed=feature_words(encoder.device))


def with_viewport_words(features: TextFeatures, texts: dict[str, list[str]], encoder: TextEncoder, *,
                        batch_size: int = 32) -> TextFeatures:
    """Return text features whose pooled vectors are of each viewport's own words, (N, V, D).

    texts: image name -> description of each viewport. Texts that occur more than once are encoded once.
    """
    different = sorted({text for views in texts.values() for text in views})
    encoded, _ = encode_descriptions(features.dataset, {text: text for text in different}, encoder, batch_size=batch_size)
    row_of = {text: row for row, text in enumerate(different)}
    pooled = torch.stack([encoded.pooled[[row_of[text] for text in texts[name]]] for name in features.names])
    made_by = features.made_by
    inputs = {name: sha256_json([made_by.inputs[name], texts[name]]) for name in features.names}
    told = replace(made_by, preprocess={**made_by.preprocess, "words": "of each viewport"}, inputs=inputs)
    return replace(features, pooled=pooled, made_by=told)


def encode_descriptions(dataset: str, descriptions: dict[str, str], encoder: TextEncoder, *,
                        batch_size: int = 32, show: bool = True) -> tuple[TextFeatures, list[str]]:
    """Encode every description of a dataset; return the features and the names whose text was cut at MAX_TOKENS.

    descriptions: image name -> text. Rows keep the order of the names. Tokens are stored as float16, padded with
    zeros to the longest text; the values do not depend on `batch_size`. show: progress on stderr.
    """
    names = list(descriptions)
    ids, cut = zip(*(encoder.tokenize(descriptions[name]) for name in names), strict=True)
    longest = max(map(len, ids))
    tokens = torch.zeros(len(names), longest, encoder.width, dtype=torch.float16)
    mask = torch.zeros(len(names), longest, dtype=torch.bool)
    pooled = torch.zeros(len(names), encoder.width)
    with Progress(total=len(names), unit="text", desc=dataset, file=sys.stderr, disable=not show) as progress:
        for length in sorted(set(map(len, ids))):
            rows = [i for i, tokens_of in enumerate(ids) if len(tokens_of) == length]
            for start in range(0, len(rows), batch_size):
                part = rows[start:start + batch_size]
                values, vectors, real = encoder.run([ids[i] for i in part])
                tokens[part, :length], pooled[part], mask[part, :length] = values.half(), vectors, real
                progress.update(len(part))
    inputs = {name: sha256_text(descriptions[name]) for name in names}
    return TextFeatures(dataset, names, text_provenance(encoder, inputs), tokens, mask, pooled), [
        name for name, was_cut in zip(names, cut, strict=True) if was_cut]
