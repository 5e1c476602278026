"""Controls of Table IV: trainings in which a part of what the model reads, or learns, is taken away.

If a control does as well as the full model, that part is not what its scores rest on.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional

from mmifn.core.files import sha256_json
from mmifn.describe.controls import shuffled
from mmifn.fusion.inputs import Database

SHUFFLED, TYPE_ONLY, TEXT_ONLY, UNTRAINED = "shuffled text", "distortion type only", "text only", "untrained GFF/LFF"
CONTROLS = {
    SHUFFLED: "every image has the description of another one",
    TYPE_ONLY: "every description is one token that tells the image's distortion type, from des.csv, and nothing else",
    TEXT_ONLY: "viewports and panorama are zeros, only the descriptions are left",
    UNTRAINED: "GFF and LFF stay at their random initial weights, only AFM and the head are trained",
}


def controlled(database: Database, control: str, seed: int) -> Database:
    """Return the database as a control shows it to the model; itself for "" and for controls of the training."""
    if control == SHUFFLED:
        return _shuffled_text(database, seed)
    if control == TYPE_ONLY:
        return _types_for_text(database)
    if control == TEXT_ONLY:
        blank = {"views": torch.zeros_like(database.inputs.views),
                 "levels": tuple(torch.zeros_like(level) for level in database.inputs.levels)}
        return _with_inputs(database, TEXT_ONLY, **blank)
    return database


def _with_inputs(database: Database, label: str, **parts: object) -> Database:
    return replace(database, inputs=replace(database.inputs, **parts), digest=sha256_json([database.digest, label]))


def _shuffled_text(database: Database, seed: int) -> Database:
    names = database.manifest.names
    row, giver = {name: i for i, name in enumerate(names)}, shuffled({name: name for name in names}, seed)
    return database.with_text([row[giver[name]] for name in names], "shuffled")


def _types_for_text(database: Database) -> Database:
    """Put one token in place of every description: a fixed direction per distortion type.

    The directions are random, of unit length (in hundreds of dimensions nearly orthogonal) and drawn by the type's place
    in the alphabet; they are as long as the words and the pooled vectors that they replace are on average. So types are told
    apart for certain, whatever an encoder makes of their names, and nothing else is told.
    """
    inputs, kinds = database.inputs, sorted(set(database.manifest.types))
    directions = functional.normalize(torch.randn(len(kinds), inputs.pooled.shape[-1],
                                                  generator=torch.Generator().manual_seed(0)), dim=1)
    own = directions[[kinds.index(kind) for kind in database.manifest.types]]
    word_length = inputs.text[inputs.mask].norm(dim=1).mean()
    return _with_inputs(database, TYPE_ONLY, text=(own * word_length)[:, None], mask=torch.ones(len(own), 1, dtype=torch.bool),
                        pooled=own * inputs.pooled.norm(dim=-1).mean())
