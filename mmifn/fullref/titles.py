"""The full-reference metrics by name, as tables call them; `metrics` computes them."""

from __future__ import annotations

TITLES = {
    "ws_psnr": "WS-PSNR",
    "s_psnr": "S-PSNR",
    "cpp_psnr": "CPP-PSNR",
    "ws_ssim": "WS-SSIM",
    "vp_ms_ssim": "MS-SSIM, views",
    "vp_gmsd": "GMSD, views",
    "vp_vsi": "VSI, views",
    "vp_fsim": "FSIM, views",
}
