"""Stages 8-10: repeated runs over splits, baselines, controls, and intervals."""
