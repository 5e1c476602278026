"""Numbers and words that flags show and computations use, apart from what computes: a --help loads no library for them."""

from __future__ import annotations

MAX_MEGAPIXELS = 300.0  # larger images are refused before they are decoded
# What the headsets show in which people judged OIQA and CVIQ, pixels per degree: a panorama of 4096 px, one of its pixels each.
HEADSET_PPD = 4096 / 360
PROTOCOLS = ("honest", "published")  # of evaluating; published: the scenes that are measured chose the epoch, as papers do
# Where views look: the directions are computed in `mmifn.sphere`, in this order.
SAMPLER_NAMES = ("dodecahedron-20", "fibonacci-20", "equator-8", "cube-6")
AUTO, EQUIRECTANGULAR = "auto", "equirectangular"
PROJECTIONS = (AUTO, EQUIRECTANGULAR, "dual-fisheye", "stereo-tb", "stereo-lr", "vr180", "cubemap")  # what --projection takes
BATCH = {"cpu": 1, "cuda": 8}  # panoramas in one pass of the networks: 320 views; on a CPU more than one only take memory
EVERY_S = 2.0  # seconds between the moments of a clip that are scored
EYES = ("left eye", "right eye")
PARTS = {"stereo-tb": EYES, "stereo-lr": EYES, "vr180": EYES}  # the spheres of one picture, where it holds more than one
