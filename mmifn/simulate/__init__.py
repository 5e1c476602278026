"""Databases made from pristine panoramas: designs, real codecs, distortions, and labels anchored to people."""
