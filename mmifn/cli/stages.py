"""The ten stages in the order in which they run; what numbers them, numbers them from here."""

from __future__ import annotations

STAGES = ("generate_text", "text_encoder", "viewport_encoder", "global_feature_extractor", "gff_module", "lff_module", "train",
          "evaluate", "cross_eval", "ablation_study")


def heading(script: str) -> str:
    """Return what a stage's first line begins with, such as "[8/10] evaluate". Raises ValueError for another script."""
    return f"[{STAGES.index(script) + 1}/{len(STAGES)}] {script}"
