"""Stages 5-7: configurations, fitting a branch or the whole, and the checkpoint."""
