"""Flags, and what scripts share."""
