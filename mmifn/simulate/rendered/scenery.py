"""Outdoor scenes cast ray by ray: sky, ground, houses and trees, for `synthetic`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmifn.simulate.rendered.procedural import SolidNoise, facade, hash_unit, mix, organic, paving, ramp

EYE = 1.6  # metres above the ground


@dataclass
class View:
    """Rays (N, 3) of one rendering, row-major over the picture, and what they have met: depth (N,), colour (N, 3)."""

    rays: np.ndarray
    depth: np.ndarray
    colour: np.ndarray
    pixel_rad: float

    def footprint(self, rows: np.ndarray, level: bool = False) -> np.ndarray:
        """Return the size of a pixel where rays `rows` land; longer where a level plane is seen at a grazing angle."""
        size = self.depth[rows] * self.pixel_rad
        return size / np.sqrt(np.maximum(np.abs(self.rays[rows, 1]), 0.02)) if level else size


_SKIES = {"day": ((0.16, 0.33, 0.75), (0.66, 0.78, 0.92), (1.0, 0.96, 0.88)),
          "dusk": ((0.14, 0.17, 0.42), (0.95, 0.52, 0.28), (1.0, 0.70, 0.42)),
          "grey": ((0.45, 0.48, 0.53), (0.70, 0.72, 0.74), (0.62, 0.64, 0.68)),
          "night": ((0.006, 0.009, 0.025), (0.05, 0.045, 0.06), (0.10, 0.12, 0.18))}


_LIGHT = {"day": 0.95, "dusk": 0.55, "grey": 0.7, "night": 0.10}


def cast_outdoors(view: View, kind: str, world: np.random.Generator, noise: SolidNoise) -> None:
    """Fill depth and colour of a view with a scene under the sky; kind: one of panorama.KINDS, world: draws what stands there."""
    mood = "night" if kind == "night" else str(world.choice(["day", "day", "dusk", "grey"]))
    sun = np.array([world.uniform(-1, 1), world.uniform(0.35, 0.9), world.uniform(-1, 1)], dtype=np.float32)
    sun /= np.linalg.norm(sun)
    _ground(view, kind, mood, world, noise)
    if kind in ("street", "night", "plaza"):
        _town(view, mood, sun, world, noise, near=6.0 if kind != "plaza" else 16.0)
    _trees(view, {"wood": 42, "meadow": 12, "plaza": 8, "shore": 7}.get(kind, 4), mood, sun, world, noise)
    _sky(view, mood, sun, world, noise)


def _sky(view: View, mood: str, sun: np.ndarray, world: np.random.Generator, noise: SolidNoise) -> None:
    """Paint the sky where no ray hit anything: gradient, clouds, the halo of sun or moon."""
    rows = np.flatnonzero(np.isinf(view.depth))
    rays = view.rays[rows]
    zenith, horizon, glow = _SKIES[mood]
    height = np.clip(rays[:, 1], 0, 1)
    sky = mix(horizon, zenith, height ** 0.55)
    flat = rays / (height + 0.25)[:, None]
    cover = world.uniform(-0.15, 0.25)
    cloud = ramp(noise.fractal(flat, 1.3, 6, 0.58) + cover, 0.0, 0.75)
    shade = noise.fractal(flat + 0.15 * sun, 2.6, 5, 0.62)
    sky = mix(sky, np.asarray(glow, np.float32) * (0.82 + 0.25 * shade)[:, None], cloud * 0.9)
    near = np.clip(rays @ sun, 0, 1)
    halo = 0.5 * near ** 24 + 6.0 * ramp(near, 0.9985, 0.9995) if mood != "grey" else 0.15 * near ** 8
    sky += (halo * (0.12 if mood == "night" else 1.0))[:, None] * np.asarray(glow, np.float32)
    if mood == "night":
        cell = np.floor(rays * 160).astype(int)
        stars = hash_unit(cell[:, 0], cell[:, 1], cell[:, 2], 3)
        sky += (np.maximum(stars - 0.992, 0) * 90 * (1 - cloud))[:, None]
    ridge = 0.05 + 0.06 * noise.fractal(rays * np.float32([1, 0, 1]), 3.0, 6, 0.55)
    hills = ramp(ridge - rays[:, 1], -0.003, 0.003)
    slope = mix((0.05, 0.09, 0.06), (0.16, 0.19, 0.15), 0.5 + 0.5 * noise.fractal(rays, 20, 4, 0.7))
    hill_light = {"night": 0.06, "dusk": 0.6}.get(mood, 1.0)
    view.colour[rows] = mix(sky, slope * hill_light + 0.35 * np.asarray(horizon, np.float32), hills)


def _ground(view: View, kind: str, mood: str, world: np.random.Generator, noise: SolidNoise) -> None:
    """Paint the ground below the horizon by the kind of scene."""
    rows = np.flatnonzero(view.rays[:, 1] < -0.004)
    view.depth[rows] = -EYE / view.rays[rows, 1]
    points = view.rays[rows] * view.depth[rows, None]
    foot = view.footprint(rows, level=True)
    if kind in ("plaza", "street", "night"):
        tone = np.asarray(world.uniform(0.30, 0.55)) * np.array([1.0, world.uniform(0.85, 1), world.uniform(0.7, 0.95)])
        ground = paving(points, foot, noise, float(world.uniform(0.35, 0.9)), tone)
        if kind != "plaza":
            ground = _road(ground, points, foot, noise)
    elif kind == "shore":
        ground = _shore(points, foot, noise, view.rays[rows], mood)
    else:
        green = kind == "meadow" or world.random() < 0.4
        dark, light = ((0.03, 0.09, 0.02), (0.30, 0.44, 0.12)) if green else ((0.06, 0.04, 0.02), (0.42, 0.32, 0.18))
        ground = organic(points, foot, noise, dark, light, 2.2)
        flowers = hash_unit(*np.floor(points[:, [0, 2]].T * 22), 4) > 0.985
        ground[flowers & (foot < 0.06)] = np.array([0.85, 0.75, 0.25]) if green else np.array([0.55, 0.25, 0.08])
    haze = (1 - np.exp(-view.depth[rows] / 140)).astype(np.float32)
    bright = np.full(len(rows), _LIGHT[mood], dtype=np.float32)
    if mood == "night":  # pools of light under lamps along the kerb
        bright += 0.9 * np.exp(-(((points[:, 2] + 6) % 12 - 6) ** 2 + (np.abs(points[:, 0]) - 4.4) ** 2) / 7)
    view.colour[rows] = mix(ground * bright[:, None], np.asarray(_SKIES[mood][1], np.float32) * 0.8, haze)


def _road(ground: np.ndarray, points: np.ndarray, foot: np.ndarray, noise: SolidNoise) -> np.ndarray:
    """Lay an asphalt lane along z with a kerb and dashed markings."""
    x, z = points[:, 0], points[:, 2]
    lane = np.abs(x) < 3.4
    grain = noise.fractal(points[lane], 12.0, 5, 1.0, foot[lane])
    ground[lane] = np.float32([0.13, 0.13, 0.14]) * (1 + 0.35 * grain)[:, None]
    paint = lane & (np.abs(x - 0.9) < 0.09) & (np.floor(z / 2.2) % 2 == 0)
    stripes = lane & (np.abs(z - 7) < 1.4) & (np.floor(x / 0.55) % 2 == 0)
    ground[paint | stripes] = np.float32([0.72, 0.71, 0.66])
    ground[(np.abs(x) >= 3.4) & (np.abs(x) < 3.6)] = np.float32([0.5, 0.49, 0.46])
    return ground


def _shore(points: np.ndarray, foot: np.ndarray, noise: SolidNoise, rays: np.ndarray, mood: str) -> np.ndarray:
    """Return sand on one side, rippling water that mirrors the sky on the other."""
    sand = organic(points, foot, noise, (0.25, 0.18, 0.10), (0.72, 0.60, 0.42), 3.5)
    wave = noise.fractal(points * np.float32([1, 1, 2.2]), 0.9, 6, 0.72, foot)
    mirror = np.clip(1 + rays[:, 1], 0, 1) ** 4
    water = mix((0.02, 0.10, 0.14), _SKIES[mood][1], np.clip(mirror * (0.75 + 0.45 * wave) + 0.06, 0, 1))
    edge = points[:, 2] + 2.0 * noise.fractal(points, 0.25, 4, 0.5)
    foam = np.exp(-((edge - 3.0) / 0.35) ** 2) * (0.6 + 0.6 * wave)
    return mix(mix(sand, water, ramp(edge, 2.6, 3.2)), (0.9, 0.92, 0.93), np.clip(foam, 0, 1))


def _town(view: View, mood: str, sun: np.ndarray, world: np.random.Generator, noise: SolidNoise, near: float) -> None:
    """Line both sides of the street (or surround the square) with houses."""
    houses = []
    for side in (-1, 1):
        z = -70.0
        while z < 70:
            length, depth, height = world.uniform(7, 16), world.uniform(8, 14), world.uniform(5, 19)
            front = near + world.uniform(0, 1.5)
            x = (front, front + depth) if side > 0 else (-front - depth, -front)
            houses.append((x, (z, z + length), height))
            z += length + (world.uniform(1, 5) if world.random() < 0.3 else 0.0)
    for end in (-1, 1) if near > 10 else ():
        x = -near
        while x < near:
            width = world.uniform(6, 12)
            houses.append(((x, min(x + width, near)), (near, near + 10) if end > 0 else (-near - 10, -near),
                           world.uniform(6, 15)))
            x += width
    for number, (x, z, height) in enumerate(houses):
        _house(view, (x[0], x[1]), (z[0], z[1]), height, _look(mood, world, number), sun, noise)


def _look(mood: str, world: np.random.Generator, number: int) -> dict:
    base = np.array([[0.62, 0.30, 0.20], [0.72, 0.62, 0.44], [0.55, 0.56, 0.58], [0.75, 0.72, 0.66], [0.42, 0.30, 0.24],
                     [0.60, 0.46, 0.50], [0.40, 0.50, 0.46]])[world.integers(7)]
    left = world.uniform(0.3, 2)
    return {"colour": base * world.uniform(0.8, 1.1), "window": (world.uniform(1.5, 2.6), world.uniform(2.4, 3.4)),
            "brick": float(world.choice([0.0, 0.35, 0.5])), "trim": np.full(3, world.uniform(0.25, 0.85)),
            "seed": 100 + number, "night": mood == "night", "board": world.uniform(0.02, 0.5, 3),
            "ink": world.uniform(0.6, 1.0, 3), "sign": (2.6, 3.5, left, left + world.uniform(3, 6))}


def _house(view: View, x: tuple[float, float], z: tuple[float, float], height: float, look: dict, sun: np.ndarray,
           noise: SolidNoise) -> None:
    """Cast the rays at one box standing on the ground (slab method) and paint the walls that are nearer than before."""
    low, high = np.float32([x[0], -EYE, z[0]]), np.float32([x[1], height - EYE, z[1]])
    rows = _rays_near(view, low, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / view.rays[rows]
        a, b = low * inverse, high * inverse
    enter = np.minimum(a, b)
    axis = enter.argmax(axis=1)
    depth, leave = enter.max(axis=1), np.maximum(a, b).min(axis=1)
    hit = (depth > 0) & (depth < leave) & (depth < view.depth[rows])
    rows, axis = rows[hit], axis[hit]
    view.depth[rows] = depth[hit]
    points = view.rays[rows] * view.depth[rows, None]
    u = np.where(axis == 0, points[:, 2] - low[2], points[:, 0] - low[0])
    paint = facade(u, points[:, 1] + EYE, view.footprint(rows), points, noise, look)
    normal = -np.sign(view.rays[rows, axis])
    lit = np.clip(normal * sun[axis], 0, 1) * (0.75 if not look["night"] else 0.02)
    dim = (0.45 if not look["night"] else 0.10) + lit
    glowing = paint.max(axis=1) > 0.9 if look["night"] else np.zeros(len(rows), bool)
    view.colour[rows] = paint * np.where(glowing, 1.0, dim)[:, None].astype(np.float32)


def _rays_near(view: View, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the rays whose longitude can meet a box beside the viewer (the ray grid is row-major, height x 2 height)."""
    side = round((len(view.rays) / 2) ** 0.5)
    corners = [(x, z) for x in (low[0], high[0]) for z in (low[2], high[2])]
    middle = np.arctan2((low[0] + high[0]) / 2, (low[2] + high[2]) / 2)
    away = [(np.arctan2(x, z) - middle + np.pi) % (2 * np.pi) - np.pi for x, z in corners]
    columns = np.arange(int((middle + min(away) + np.pi) / np.pi * side) - 1,
                        int((middle + max(away) + np.pi) / np.pi * side) + 2) % (2 * side)
    nearest = np.hypot(*(max(low[i], -high[i], 0.01) for i in (0, 2)))
    first, last = (int((np.pi / 2 - np.arctan2(y, nearest)) / np.pi * side) for y in (max(high[1], 0), min(low[1], 0)))
    return (np.arange(max(first - 2, 0), min(last + 2, side))[:, None] * (2 * side) + columns[None]).ravel()


def _trees(view: View, count: int, mood: str, sun: np.ndarray, world: np.random.Generator, noise: SolidNoise) -> None:
    for _ in range(count):
        angle, away = world.uniform(-np.pi, np.pi), world.uniform(4.5, 26)
        if count <= 8:
            angle = world.choice([0.0, np.pi]) + world.normal(0, 0.12)
        trunk, radius = world.uniform(1.6, 3.6), world.uniform(1.0, 2.4)
        foot = np.float32([away * np.sin(angle), -EYE, away * np.cos(angle)])
        tint = np.float32([world.uniform(0.6, 1.5), 1.0, world.uniform(0.5, 1.0)])
        _trunk(view, foot, trunk + radius * 0.6, mood, noise)
        _crown(view, foot + np.float32([0, trunk + radius * 0.7, 0]), radius, tint, mood, sun, noise)


def _trunk(view: View, foot: np.ndarray, height: float, mood: str, noise: SolidNoise) -> None:
    """Paint the trunk of a tree as an upright cylinder seen from afar."""
    half = 0.16
    rows = _rays_near(view, foot - np.float32([half, 0, half]), foot + np.float32([half, height, half]))
    away = np.hypot(foot[0], foot[2])
    flat = np.hypot(view.rays[rows, 0], view.rays[rows, 2])
    depth = away / flat
    across = (view.rays[rows, 0] * foot[2] - view.rays[rows, 2] * foot[0]) / flat
    level = view.rays[rows, 1] * depth
    hit = (np.abs(across) < half) & (level > -EYE) & (level < foot[1] + height) & (depth < view.depth[rows])
    rows, across = rows[hit], across[hit]
    view.depth[rows] = depth[hit]
    points = view.rays[rows] * view.depth[rows, None] * np.float32([6, 1, 6])
    bark = organic(points, view.footprint(rows), noise, (0.04, 0.03, 0.02), (0.30, 0.22, 0.15), 3.0)
    view.colour[rows] = bark * (_LIGHT[mood] * (1 - 0.6 * (across / half) ** 2))[:, None]


def _crown(view: View, centre: np.ndarray, radius: float, tint: np.ndarray, mood: str, sun: np.ndarray,
           noise: SolidNoise) -> None:
    """Paint a ragged ball of leaves: rays pass through the gaps that fractal noise leaves near the rim."""
    rows = _rays_near(view, centre - radius, centre + radius)
    along = view.rays[rows] @ centre
    miss = np.sqrt(np.maximum(centre @ centre - along ** 2, 0))
    close = (along > 0) & (miss < radius) & (along - radius < view.depth[rows])
    rows, along, miss = rows[close], along[close], miss[close]
    depth = along - np.sqrt(radius ** 2 - miss ** 2)
    points = view.rays[rows] * depth[:, None]
    gaps = noise.fractal(points, 1.6, 6, 0.8, depth * view.pixel_rad)
    leaf = 1 - (miss / radius) ** 2 + 0.5 * gaps > 0.28
    rows, points, depth = rows[leaf], points[leaf], depth[leaf]
    view.depth[rows] = depth
    normal = (points - centre) / radius
    paint = organic(points, view.footprint(rows), noise, (0.012, 0.03, 0.006), (0.26, 0.36, 0.08), 4.0) * tint
    shade = 0.35 + 0.75 * np.clip(normal @ sun + 0.25, 0, 1)
    view.colour[rows] = paint * (shade * _LIGHT[mood])[:, None]
