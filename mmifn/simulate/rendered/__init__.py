"""Pristine panoramas that the package renders itself."""
