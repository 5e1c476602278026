"""Directions in a panorama, in words: ahead is its middle."""

from __future__ import annotations

SIDES = ("ahead", "to the right", "behind", "to the left")  # middles at longitude 0°, 90°, 180° and 270°
STEEP_DEG = 30.0  # views beyond this latitude look up or down; the others look at the horizon
COMPASS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")


def compass_word(bearing_deg: float) -> str:
    """Return one of the eight winds for a bearing in degrees, clockwise from north."""
    return COMPASS[round((bearing_deg % 360) / 45) % 8]


def direction_words(lon_deg: float, lat_deg: float) -> str:
    """Return where a view looks, in words."""
    side = SIDES[round((lon_deg % 360) / 90) % 4]
    return side + (", up" if lat_deg > STEEP_DEG else ", down" if lat_deg < -STEEP_DEG else "")
