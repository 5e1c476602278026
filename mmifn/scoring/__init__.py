"""Scoring any panorama with a trained model: one, a folder of files, a map, a page."""
