"""Databases as they lie on disk: manifests, images, splits, importers, and whether a picture is a panorama."""
