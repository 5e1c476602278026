"""VMamba: the nine published variants, any custom size, and helpers for equirectangular (ERP) input."""

from mmifn.encoders.vmamba.checkpoint import load_vmamba
from mmifn.encoders.vmamba.config import DEFAULT_VARIANT, VARIANTS, VMambaConfig, variant_name
from mmifn.encoders.vmamba.erp import crop_wrapped, pad_wrapped, wrapped_features
from mmifn.encoders.vmamba.model import VMamba, build_vmamba

__all__ = [
    "DEFAULT_VARIANT", "VARIANTS", "VMamba", "VMambaConfig", "build_vmamba", "crop_wrapped", "load_vmamba",
    "pad_wrapped", "variant_name", "wrapped_features",
]
