"""Frozen networks that turn panoramas, viewports and descriptions into features."""
