"""Descriptions from measurements: statistics of the pixels, a verdict, and words for it."""
