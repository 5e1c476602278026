"""Human mean opinion scores of OIQA and CVIQ per distortion and level: what simulated labels are anchored to.

Mean and standard deviation (N - 1) over the 16 scenes of each database, on 0..100, level 1 the mildest.
OIQA: Duan et al., "Perceptual quality assessment of omnidirectional images", ISCAS 2018 (its z-scored MOSz).
CVIQ: Sun et al., "MC360IQA: a multi-channel CNN for blind 360-degree image quality assessment", IEEE JSTSP 2020.
OIQA's own files do not say which of its third and fourth blocks is noise and which is blur. The third is taken for
noise: over scenes its scores go with those of JPEG (r = .86) and against those of JPEG 2000 (-.34), as masking by
texture would have it, while the fourth goes with JPEG 2000 (.42) and against JPEG (-.47).
"""

from __future__ import annotations

# (database, type) -> one (mean, standard deviation over scenes) per level
HUMAN_MOS: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("OIQA", "JPEG"): ((67.04, 5.35), (61.81, 7.16), (51.75, 9.01), (38.41, 8.11), (29.30, 5.13)),
    ("OIQA", "JP2K"): ((68.29, 5.63), (59.48, 5.82), (49.43, 7.49), (40.50, 5.18), (28.71, 5.05)),
    ("OIQA", "GN"): ((67.19, 3.12), (61.96, 4.11), (48.67, 3.33), (42.69, 3.56), (33.65, 3.33)),
    ("OIQA", "GB"): ((64.66, 3.34), (54.58, 4.31), (43.22, 4.12), (36.22, 3.11), (28.70, 2.41)),
    ("CVIQ", "JPEG"): ((64.93, 3.20), (63.62, 4.21), (62.00, 4.18), (61.27, 4.69), (57.72, 4.36), (53.40, 5.06),
                       (49.77, 5.06), (42.55, 4.58), (30.83, 4.59), (20.62, 2.23), (17.53, 1.35)),
    ("CVIQ", "AVC"): ((65.88, 3.93), (63.27, 4.05), (61.12, 4.07), (56.73, 4.37), (54.93, 4.59), (50.81, 4.82),
                      (45.98, 5.02), (41.28, 4.48), (37.85, 4.47), (33.88, 4.07), (30.87, 4.18)),
    ("CVIQ", "HEVC"): ((66.23, 4.61), (63.23, 5.04), (61.57, 5.29), (59.13, 6.18), (55.77, 4.49), (52.06, 4.54),
                       (48.37, 4.75), (43.65, 4.49), (40.15, 4.96), (35.80, 5.58), (32.47, 4.53)),
}

# What observers gave the untouched scenes of each database (mean, SD over scenes).
HUMAN_PRISTINE = {"OIQA": (73.51, 3.14), "CVIQ": (69.49, 3.74)}
