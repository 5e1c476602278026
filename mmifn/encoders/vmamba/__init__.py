"""VMamba: the nine published variants, any custom size, and helpers for equirectangular (ERP) input."""

from mmifn.encoders.vmamba.checkpoint import load_vmamba
from mmifn.encoders.vmamba.config import DEFAULT_VARIANT, VARIANTS, VMambaConfig, variant_name
from mmifn.encoders.vmamba.erp import wrapped_features
from mmifn.encoders.vmamba.model import VMamba, build_vmamba

__all__ = [
    "DEFAULT_VARIANT", "VARIANTS", "VMamba", "VMambaConfig", "build_vmamba", "load_vmamba", "variant_name", "wrapped_features",
]
