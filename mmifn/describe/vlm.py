"""Descriptions from a vision-language model of transformers: greedy, batched, on what a viewer would look at.

A conversation shows the model the whole ERP and then some viewports at native resolution, as several images. Every
image is reduced by us to an explicit number of pixels, so that no processor's default decides what the model sees.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmifn.core import torchvision_shim as compat  # noqa: F401  (before transformers' vision models)
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file, sha256_json
from mmifn.core.json_text import parse_json
from mmifn.data.images import MAX_MEGAPIXELS
from mmifn.describe.conversation import CONTEXT, judged, pictures_of, question, shortened, what_is_shown
from mmifn.describe.generation import Answer, Identity, Item, identity_of
from mmifn.describe.settings import DEFAULT_MODEL, VlmSettings

# 8.8 billion parameters: 18 GB in bfloat16, which leaves a 24 GB GPU room for one conversation of default size.
_OLD_QWEN = re.compile(r"(^|/)Qwen-VL(-Chat)?(-Int4)?/?$", re.IGNORECASE)
_OLD_QWEN_MESSAGE = ("{model} is the first Qwen-VL (2023): it runs only by executing code from its repository "
                     "(trust_remote_code), with a tokenizer interface of its own and transformers 4.31 to 4.37, so it "
                     f"cannot run here.\nUse its successor: --model {DEFAULT_MODEL} (the default)")


def refuse_old_qwen(model: str) -> None:
    """Raise UserError for Qwen-VL and Qwen-VL-Chat, by identifier or by the config.json of a local folder."""
    config = Path(model) / "config.json"
    local = {}
    if config.is_file():
        try:
            local = parse_json(config.read_bytes())
        except ValueError as error:
            raise UserError(f"{config} is damaged ({error})") from error
        if not isinstance(local, dict):
            raise UserError(f"{config} is no configuration of a model: it holds a {type(local).__name__}")
    if _OLD_QWEN.search(model) or (local.get("model_type") == "qwen" and "visual" in local):
        raise UserError(_OLD_QWEN_MESSAGE.format(model=model))


def _unavailable(model: str, error: Exception) -> UserError:
    first = (str(error).splitlines() or [""])[0][:300]
    if "trust_remote_code" in str(error):
        return UserError(f"--model {model} runs only by executing code from its repository, which is never done here; "
                         f"use a model that transformers itself knows, such as {DEFAULT_MODEL}")
    verb = "read" if Path(model).is_dir() else "downloaded"
    return UserError(f"the vision-language model {model!r} could not be {verb} ({type(error).__name__}: {first}).\n"
                     "Give a local copy with --model DIR; without any: --source measured (no weights needed).")


def revision_of(model: str) -> str:
    """Identify a model's weights before they are loaded: the hub's commit, or a hash of the files of a local folder."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model)
    except Exception as error:
        raise _unavailable(model, error) from error
    if Path(model).is_dir():
        files = sorted(path for path in Path(model).iterdir() if path.is_file() and not path.name.startswith("."))
        return sha256_json({path.name: sha256_file(path) for path in files})[:12]
    return str(getattr(config, "_commit_hash", None) or "unknown")[:12]


@dataclass
class VlmDescriber:
    """The source "vlm"; weights are loaded when the first image is described.

    model: identifier on the hub or a local folder; device: bfloat16 on CUDA, float32 on the CPU.
    """

    model: str
    prompt: str
    device: torch.device
    settings: VlmSettings = field(default_factory=VlmSettings)
    max_megapixels: float = MAX_MEGAPIXELS
    truncated: int = 0

    def __post_init__(self) -> None:
        refuse_old_qwen(self.model)
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        settings = sha256_json([*self.settings.identity(), str(self.dtype), CONTEXT])
        revision = f"{revision_of(self.model)}+{settings[:8]}"
        shown = Path(self.model).resolve().name if Path(self.model).is_dir() else self.model
        self.identity: Identity = identity_of("vlm", shown, revision, self.prompt)
        self._loaded: tuple[Any, Any] | None = None

    def describe(self, items: list[Item]) -> Iterator[Answer]:
        """Yield one Answer per item, batch by batch."""
        processor, network = self._load()
        size = max(1, self.settings.batch_size)
        print(what_is_shown(self.identity.model, self.settings), file=sys.stderr)
        for start in range(0, len(items), size):
            asked, conversations = [], []
            for item in items[start:start + size]:
                try:
                    conversations.append(self._conversation(item))
                    asked.append(item)
                except UserError as error:
                    yield Answer(item, failure=str(error))
            if asked:
                yield from self._ask(asked, conversations, processor, network)
        if self.truncated:
            print(shortened(self.truncated, self.settings), file=sys.stderr)

    def _load(self) -> tuple[Any, Any]:
        """Load processor and network once."""
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            try:
                processor = AutoProcessor.from_pretrained(self.model)
                network = AutoModelForImageTextToText.from_pretrained(self.model, dtype=self.dtype)
            except Exception as error:
                raise _unavailable(self.model, error) from error
            if not getattr(processor, "chat_template", None):
                raise UserError(f"--model {self.model} has no chat template, so it cannot be asked a question; use an "
                                f"instruction-tuned model such as {DEFAULT_MODEL}")
            processor.tokenizer.padding_side = "left"
            self._loaded = processor, network.to(self.device).eval()
        return self._loaded

    def _conversation(self, item: Item) -> list[dict]:
        """Return the chat of one item: its images, then the prompt."""
        pictures = pictures_of(item, self.settings, self.max_megapixels)
        content = [{"type": "image", "image": Image.fromarray(pixels)} for pixels in pictures]
        content.append({"type": "text", "text": question(self.prompt, len(pictures))})
        system = {"role": "system", "content": [{"type": "text", "text": self.settings.system_prompt}]}
        return [*([system] if self.settings.system_prompt else []), {"role": "user", "content": content}]

    def _ask(self, items: list[Item], conversations: list[list[dict]], processor: Any, network: Any) -> Iterator[Answer]:
        """Answer a batch; one that does not fit into GPU memory is asked again one by one."""
        try:
            answers = self._generate(conversations, processor, network)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(items) > 1:
                for item, conversation in zip(items, conversations, strict=True):
                    yield from self._ask([item], [conversation], processor, network)
                return
            yield Answer(items[0], failure="CUDA out of memory; lower --views, --erp-height or --view-size, or use a "
                                           "smaller --model")
            return
        for item, (text, cut) in zip(items, answers, strict=True):
            answer, short = judged(item, text, cut, self.settings)
            self.truncated += short
            yield answer

    @torch.inference_mode()
    def _generate(self, conversations: list[list[dict]], processor: Any, network: Any) -> list[tuple[str, bool]]:
        """Return for each conversation the answer and whether it was cut off."""
        try:
            inputs = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=True,
                                                   return_dict=True, processor_kwargs={"padding": True,
                                                                                       "return_tensors": "pt"})
        except (ValueError, IndexError, TypeError) as error:
            raise UserError(f"--model {self.model} does not take {self.settings.views + 1} images at once ({error}); "
                            "--views 0 shows it the whole panorama only") from error
        inputs = inputs.to(self.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(self.dtype)
        ends = network.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends if ends is not None else processor.tokenizer.eos_token_id])
        filler = processor.tokenizer.pad_token_id
        output = network.generate(**inputs, do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None,
                                  max_new_tokens=self.settings.max_new_tokens,
                                  pad_token_id=filler if filler is not None else min(ends))
        fresh = output[:, inputs["input_ids"].shape[1]:]
        texts = processor.tokenizer.batch_decode(fresh, skip_special_tokens=True)
        return [(text, not ends & set(row.tolist())) for text, row in zip(texts, fresh, strict=True)]
