"""What a language model is asked and shown, unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass

# The prompt that the method's README gives.
DEFAULT_PROMPT = "Evaluate the image quality with a comprehensive explanation."
DEFAULT_MODEL = "Qwen/Qwen3-VL-8B-Instruct"
KEEPS = ("answer", "reasoning")


@dataclass(frozen=True)
class VlmSettings:
    """What the model sees and how long it may answer.

    erp_height_px: the ERP is reduced to this height (its width is twice it); views: viewports shown beside it, 0 to 6;
    view_px: their side, at native resolution; max_new_tokens: longest answer; batch_size: conversations at once;
    system_prompt: said before the question, "" for nothing; keep: "answer", what follows the thinking, or "reasoning",
    the thinking itself (models tuned to rate images describe the image there, and answer with a bare number).
    """

    erp_height_px: int = 512
    views: int = 6
    view_px: int = 448
    max_new_tokens: int = 256
    batch_size: int = 1
    system_prompt: str = ""
    keep: str = "answer"

    def identity(self) -> list:
        """Return all that changes an answer; what was not there before is left out where it is as before."""
        kept = {key: value for key, value in vars(self).items() if key != "batch_size"}
        new = {name: kept.pop(name) for name in ("system_prompt", "keep")}
        defaults = vars(VlmSettings())
        return [kept | {name: value for name, value in new.items() if value != defaults[name]}]
