"""What the tests share: one thread, no network, and tiny workspaces with made-up features that carry a quality."""

import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from skips import pytest_sessionfinish  # noqa: E402, F401

from mmifn.core.artefact import Provenance, save  # noqa: E402
from mmifn.core.files import sha256_text  # noqa: E402
from mmifn.data.features import GlobalFeatures, TextFeatures, ViewportFeatures  # noqa: E402
from mmifn.data.workspace import Workspace  # noqa: E402
from mmifn.fusion.inputs import load_database  # noqa: E402

VIEWS, CELLS, WORDS = 5, 6, 4
DIMS = {"text": 10, "view": 12, "levels": (6, 8, 10)}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def write_csv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def provenance(encoder, names, **settings):
    return Provenance(encoder, sha256_text(encoder), {"size": 1, **settings}, {name: sha256_text(name) for name in names})


def make_features(space, dataset, quality, names, rng, encoder="made up"):
    """Write the three caches: noise, plus the quality along one direction; caption lengths vary."""

    def carry(*shape):
        direction = np.random.default_rng(shape[-1]).normal(size=shape[-1])  # the same in every database
        value = 0.3 * rng.normal(size=(len(names), *shape)) + quality.reshape(-1, *[1] * len(shape)) * direction
        return torch.from_numpy(value).float()

    mask = torch.arange(WORDS)[None] < torch.from_numpy(rng.integers(2, WORDS + 1, len(names)))[:, None]
    tokens = carry(WORDS, DIMS["text"]) * mask[..., None]
    made = {name: provenance(f"{encoder} {name}", names) for name in ("text", "views", "global")}
    save(TextFeatures(dataset, names, made["text"], tokens, mask, carry(DIMS["text"])), space.features(dataset, "text_features"))
    save(
        ViewportFeatures(dataset, names, made["views"], carry(VIEWS, DIMS["view"]).half(), torch.zeros(VIEWS, 2)),
        space.features(dataset, "viewport_features"),
    )
    save(
        GlobalFeatures(dataset, names, made["global"], [carry(CELLS, c).half() for c in DIMS["levels"]]),
        space.features(dataset, "global_features"),
    )


def make_workspace(root, dataset="OIQA", types=("JPEG", "GN"), scenes=6, levels=3, seed=0, encoder="made up"):
    """Write a database of scenes x types x levels whose scores follow its features; returns the Workspace."""
    space, rng = Workspace(root), np.random.default_rng(seed)
    rows = [
        (f"s{s}_{kind}_{level}.png", kind, f"s{s}", level)
        for s in range(scenes)
        for kind in types
        for level in range(1, levels + 1)
    ]
    quality = np.array([1 - 0.5 * level + 0.2 * types.index(kind) for _, kind, _, level in rows]) + 0.1 * rng.normal(
        size=len(rows)
    )
    write_csv(
        space.manifest(dataset),
        ["image_name", "MOS", "distortion_type", "reference", "level"],
        [(name, f"{50 + 20 * q:.4f}", kind, scene, level) for (name, kind, scene, level), q in zip(rows, quality, strict=True)],
    )
    make_features(space, dataset, quality, [row[0] for row in rows], rng, encoder)
    return space


@pytest.fixture
def space(tmp_path):
    """A workspace with one tiny database, OIQA: 6 scenes x 2 types x 3 levels."""
    return make_workspace(tmp_path)


@pytest.fixture
def database(space):
    return load_database(space, "OIQA")
