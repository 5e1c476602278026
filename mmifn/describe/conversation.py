"""A conversation about one panorama with a vision-language model: what it is shown, what it is asked, what is kept."""

from __future__ import annotations

import re

import numpy as np

from mmifn.data.images import read_image
from mmifn.describe.answers import fault_of, whole_sentences
from mmifn.describe.generation import Answer, Item
from mmifn.describe.inputs import native_views, reduce_erp
from mmifn.describe.settings import VlmSettings
from mmifn.sphere import cube, dodecahedron

CONTEXT = ("The first image is a whole 360° panorama in equirectangular projection; the others are views of it at full "
           "resolution. ")
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)


def pictures_of(item: Item, settings: VlmSettings, max_megapixels: float) -> list[np.ndarray]:
    """Return what is shown of an item, (H, W, 3) uint8 each: the reduced ERP and views of it, or a viewport alone."""
    erp = read_image(item.path, max_megapixels=max_megapixels)
    if item.viewport:
        return native_views(erp, dodecahedron()[[int(item.viewport)]], settings.view_px)
    return [reduce_erp(erp, settings.erp_height_px), *native_views(erp, cube()[:settings.views], settings.view_px)]


def question(prompt: str, pictures: int) -> str:
    """Return the text that follows the pictures."""
    return (CONTEXT if pictures > 1 else "") + prompt


def what_is_shown(model: str, settings: VlmSettings) -> str:
    """Say in a line what a model sees of a panorama."""
    height = settings.erp_height_px
    return (f"{model} sees the panorama at up to {2 * height}x{height} px and {settings.views} viewports of "
            f"{settings.view_px} px at native resolution")


def part_of(text: str, keep: str) -> tuple[str, str]:
    """Return the wanted part of an answer, and why there is none ("" where there is).

    A model that thinks aloud puts that between <think> and </think> (some templates write the first tag themselves).
    """
    if "</think>" in text and "<think>" not in text:
        text = "<think>" + text
    thought = _THOUGHT.search(text)
    if keep == "reasoning":
        return (thought[1].strip(), "") if thought else ("", "no <think>…</think> in the answer to take the reasoning from "
                                                             "(--keep answer takes what there is)")
    if "<think>" in text and not thought:
        return "", "the model was still thinking when its answer ended; raise --max-new-tokens, or take a model that does not"
    rest = _THOUGHT.sub("", text)
    answer = _ANSWER.search(rest)
    return (answer[1] if answer else rest).strip(), ""


def judged(item: Item, text: str, cut: bool, settings: VlmSettings) -> tuple[Answer, bool]:
    """Return what is kept of an answer and whether it was shortened to its last whole sentence.

    cut: it ran into settings.max_new_tokens. An answer that is empty, degenerate or without a whole sentence becomes a
    failure; nothing is made up in its place.
    """
    part, missing = part_of(text, settings.keep)
    if missing:
        return Answer(item, failure=missing), False
    kept = whole_sentences(part) if cut else part
    fault = fault_of(part) or (f"no whole sentence within --max-new-tokens {settings.max_new_tokens}" if cut and not kept
                               else "") or fault_of(kept)
    return (Answer(item, failure=fault), False) if fault else (Answer(item, kept.strip()), cut)


def shortened(count: int, settings: VlmSettings) -> str:
    """Say how many answers were shortened."""
    return (f"{count} answers ran into --max-new-tokens {settings.max_new_tokens} and were kept up to their last whole "
            "sentence")
