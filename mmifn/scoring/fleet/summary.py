"""What a fleet has found, in a few lines: how many, why some could not be scored, and how the scores are spread."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from mmifn.scoring.fleet.folder import Folder
from mmifn.scoring.fleet.manifest import KEY

_REASONS = 8  # told, the most frequent ones
_BAR = 40  # characters, of the tallest column of the histogram
_DETAIL = re.compile(r"[(:;].*|\d[\d.]*", re.DOTALL)  # what differs from image to image


class Summary:
    """Counts over the rows of a run, read batch by batch."""

    def __init__(self, folder: Folder, keys: np.ndarray) -> None:
        """Read the rows of these keys, which are sorted."""
        self.wanted, self.histogram, self.reasons = len(keys), np.zeros(10, np.int64), Counter[str]()
        rows, seen = 0, np.zeros(len(keys), bool)
        for batch in folder.results(keys):
            rows += len(batch)
            seen[np.searchsorted(keys, batch[KEY].to_numpy())] = True
            scores = batch["score"].drop_null().to_numpy()
            self.histogram += np.histogram(scores, bins=10, range=(0, 100))[0]
            self.reasons.update(reason(error, image) for error, image in zip(
                batch["error"].to_pylist(), batch["image"].to_pylist(), strict=True) if error is not None)
        self.missing, self.doubled = int((~seen).sum()), rows - int(seen.sum())

    @property
    def failed(self) -> int:
        return sum(self.reasons.values())

    def lines(self) -> list[str]:
        """Return it for a person."""
        scored = int(self.histogram.sum())
        lines = [f"{scored:,} of {self.wanted:,} scored, {self.failed:,} could not be"]
        lines += [f"  {count:,}: {told}" for told, count in self.reasons.most_common(_REASONS)]
        if self.missing or self.doubled:
            lines.append(f"  {self.missing:,} rows are missing, {self.doubled:,} are there more than once: run the command again")
        if scored:
            tallest = int(self.histogram.max())
            lines += [f"  {10 * i:3d}-{10 * i + 10:<3d} {'█' * round(_BAR * count / tallest):{_BAR}s} {count:,}"
                      for i, count in enumerate(self.histogram.tolist())]
        return lines


def reason(error: str, image: str) -> str:
    """Return an error without what is of the one image alone."""
    return " ".join(_DETAIL.sub("", error.replace(image, "").lstrip(": ")).split()).strip(" ,")
