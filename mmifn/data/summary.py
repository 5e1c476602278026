"""A summary of a database that a person can check."""

from __future__ import annotations

import pandas as pd


def describe(table: pd.DataFrame, dataset: str) -> str:
    """Return counts and mean MOS (SD over images) per distortion type and level of a des.csv table."""
    mos = pd.to_numeric(table["MOS"])
    source = ", ".join(sorted(set(table["mos_source"]))) if "mos_source" in table else "human"
    lines = [f"{dataset}: {len(table)} images, MOS {mos.min():.2f} to {mos.max():.2f}, mean {mos.mean():.2f}, "
             f"SD {mos.std():.2f} ({source})"]
    level = pd.to_numeric(table["level"]) if "level" in table else 0
    for kind, rows in table.assign(MOS=mos, level=level).groupby("distortion_type", sort=False):
        means = rows.groupby("level")["MOS"].mean()
        shown = "  ".join(f"{number}: {mean:.1f}" for number, mean in means.items())
        lines.append(f"  {kind:<5} {len(rows):>5} images, mean MOS by level  {shown}")
    return "\n".join(lines)
