"""The encoders that can be adapted to distortions, by name, and where the package keeps weights of its own."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
TITLES = {
    "lite0_adapted": "EfficientNet-Lite0, from its ImageNet weights",
    "vit_s14_adapted": "the first four layers of ViT-S/14, from its package",
    "vit_nano": "a small ViT behind the first stages of lite0_adapted, which is its teacher",
    "vmamba_nano": "a small VMamba behind the same stages, of the same teacher",
}


def weights_file(name: str) -> Path:
    """Return where the package keeps the weights of an adapted encoder."""
    return FOLDER / f"{name}.safetensors"
