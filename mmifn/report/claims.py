"""Figures from the literature on the real databases, and what the paper claims: never measured here."""

from __future__ import annotations

from mmifn.report.tables import Table

# As claimed by the paper: (PLCC, SRCC, RMSE), and PLCC of the ablated variants on OIQA.
CLAIMED = {"OIQA": (0.986, 0.982, 3.253), "CVIQ": (0.984, 0.983, 2.721)}
CLAIMED_CROSS = {("CVIQ", "OIQA"): (0.864, 0.847, 4.866), ("OIQA", "CVIQ"): (0.941, 0.945, 4.591)}
CLAIMED_ABLATION = {"full": 0.986, "w/o text": 0.942, "w/o GFF": 0.658, "w/o LFF": 0.881, "w/o AFM": 0.923, "w/o LIT": 0.951}
# On the real databases (PLCC, SRCC, protocol), from the methods' own papers.
LITERATURE = {
    "WS-PSNR": {"OIQA": (0.581, 0.526), "CVIQ": (0.672, 0.610), "protocol": "full reference"},
    "WS-SSIM": {"OIQA": (0.504, 0.503), "CVIQ": (0.929, 0.911), "protocol": "full reference"},
    "MC360IQA": {"OIQA": (0.925, 0.919), "CVIQ": (0.951, 0.914), "protocol": "one fixed split"},
    "VGCN": {"OIQA": (0.951, 0.958), "CVIQ": (0.963, 0.965), "protocol": "test-selected"},
    "Assessor360": {"OIQA": (0.975, 0.980), "CVIQ": (0.977, 0.964), "JUFE-10K": (0.694, 0.690), "OIQ-10K": (0.790, 0.773),
                    "protocol": "test-selected, one split"},
    "VU-BOIQA": {"OIQA": (0.973, 0.976), "CVIQ": (0.958, 0.963), "protocol": "test-selected"},
    "GAQC": {"OIQA": (0.985, 0.983), "CVIQ": (0.959, 0.957), "JUFE-10K": (0.830, 0.835), "OIQ-10K": (0.837, 0.842),
             "protocol": "code splits by image"},
    "VUGA": {"OIQA": (0.974, 0.973), "CVIQ": (0.984, 0.970), "JUFE-10K": (0.842, 0.846), "OIQ-10K": (0.834, 0.830),
             "protocol": "code splits by image"},
    "MTAOIQA": {"OIQA": (0.972, 0.960), "CVIQ": (0.965, 0.962), "JUFE-10K": (0.822, 0.821), "OIQ-10K": (0.829, 0.824),
                "protocol": "as published"},
    "RL-ScanIQA": {"OIQA": (0.967, 0.941), "CVIQ": (0.970, 0.970), "protocol": "mean of 10 splits"},
    "GSR": {"OIQA": (0.954, 0.945), "CVIQ": (0.962, 0.945), "protocol": "5 splits, validation-selected"},
    "MMIFN": {"OIQA": (0.986, 0.982), "CVIQ": (0.984, 0.983), "protocol": "as claimed by the paper"},
}
LITERATURE_DATABASES = ("OIQA", "CVIQ", "JUFE-10K", "OIQ-10K")


def claim_note(name: str, claim: tuple[float, float, float]) -> str:
    """Return the paper's claim with the RMSE its PLCC implies on the real database."""
    sigma = {"OIQA": 14.39, "CVIQ": 14.29}[name]
    implied = sigma * (1 - claim[0] ** 2) ** 0.5
    return (f"As claimed by the paper on the real {name}: PLCC {claim[0]:.3f}, SRCC {claim[1]:.3f}, RMSE {claim[2]:.3f} "
            f"(its PLCC implies RMSE {implied:.2f} at SD(MOS) {sigma}).")


def literature_table(names: list[str]) -> Table:
    """Build the block of figures from the literature, on the real databases, never measured here."""
    table = Table("As published, on the real databases (not measured here)",
                  ["method", *[f"{name} PLCC/SRCC" for name in names], "protocol"])
    for method, row in LITERATURE.items():
        figures = [f"{row[name][0]:.3f}/{row[name][1]:.3f}" if name in row else "–" for name in names]
        table.rows.append([method, *figures, row["protocol"]])
    return table
