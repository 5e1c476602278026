"""Indoor scenes cast ray by ray: a room with windows, shelves, pictures, posters and furniture, for `synthetic`."""

from __future__ import annotations

import numpy as np

from mmifn.simulate.rendered.procedural import SolidNoise, glyphs, hash_unit, line_cover, mix, organic, paving, ramp
from mmifn.simulate.rendered.scenery import EYE, View


def cast_indoors(view: View, kind: str, world: np.random.Generator, noise: SolidNoise) -> None:
    """Paint the six inner sides of a box around the viewer, then the furniture before them."""
    hall = kind == "hall"
    half = np.float32([world.uniform(5, 9), 0, world.uniform(6, 12)] if hall
                      else [world.uniform(2, 3.2), 0, world.uniform(2.2, 4)])
    top = np.float32(world.uniform(4.5, 7) if hall else world.uniform(1.1, 1.5))
    high, low = np.float32([half[0], top, half[2]]), np.float32([-half[0], -EYE, -half[2]])
    with np.errstate(divide="ignore"):
        away = np.where(view.rays > 0, high, low) / view.rays
    axis = away.argmin(axis=1)
    view.depth[:] = away.min(axis=1)
    points = view.rays * view.depth[:, None]
    tone = world.uniform(0.35, 0.8, 3) * 0.4 + world.uniform(0.25, 0.5)
    floor, ceiling = (axis == 1) & (view.rays[:, 1] < 0), (axis == 1) & (view.rays[:, 1] > 0)
    _floor(view, np.flatnonzero(floor), points, hall, noise)
    _ceiling(view, np.flatnonzero(ceiling), points, noise)
    for number, (side, sign) in enumerate([(0, -1), (0, 1), (2, -1), (2, 1)]):
        rows = np.flatnonzero((axis == side) & (np.sign(view.rays[:, side]) == sign))
        look = {"seed": int(world.integers(1000)), "tone": tone, "width": 2 * half[2 - side], "height": top + EYE,
                "what": ["window", "shelves", "pictures", "poster"][(number + int(world.integers(2))) % 4]}
        u = points[rows, 2 - side] * sign * (1 if side == 2 else -1) + half[2 - side]
        view.colour[rows] = _wall(u, points[rows, 1] + EYE, points[rows], view.footprint(rows), noise, look)
    lamp = np.float32([world.uniform(-0.5, 0.5) * half[0], top * 0.7, world.uniform(-0.5, 0.5) * half[2]])
    _light(view, points, lamp, axis, world)
    for _ in range(9 if hall else 4):
        _furniture(view, half, world, noise, lamp)


def _light(view: View, points: np.ndarray, lamp: np.ndarray, axis: np.ndarray, world: np.random.Generator) -> None:
    """Darken with the distance to the lamp and in the corners; tint."""
    away = np.linalg.norm(points - lamp, axis=1)
    warmth = np.float32([1.0, world.uniform(0.82, 1.0), world.uniform(0.6, 1.0)])
    fall = 0.30 + 0.9 / (1 + (away / (0.6 * np.linalg.norm(points, axis=1).mean())) ** 2)
    glowing = view.colour.max(axis=1) > 1.0
    view.colour *= np.where(glowing, 1.0, fall * np.where(axis == 1, 0.9, 1.0))[:, None] * warmth


def _floor(view: View, rows: np.ndarray, points: np.ndarray, hall: bool, noise: SolidNoise) -> None:
    """Paint the floor: paving in a hall, else planks and a rug."""
    spot, foot = points[rows], view.footprint(rows, level=True)
    if hall:
        view.colour[rows] = paving(spot, foot, noise, 0.8, (0.52, 0.47, 0.42))
        return
    plank = np.floor(spot[:, 0] / 0.12)
    shade = 0.7 + 0.5 * hash_unit(plank, np.floor(spot[:, 2] / 1.4 + 0.37 * plank), 5)
    wood = organic(spot * np.float32([9, 1, 1]), foot * 3, noise, (0.16, 0.08, 0.04), (0.52, 0.33, 0.18), 1.6)
    seam = line_cover(spot[:, 0] / 0.12, 0.05, foot / 0.12)
    view.colour[rows] = wood * (shade * (1 - 0.6 * seam))[:, None]
    rug = (np.abs(spot[:, 0] - 0.3) < 1.1) & (np.abs(spot[:, 2] - 0.4) < 1.5)
    weave = 0.5 + 0.5 * np.sign(np.sin(22 * spot[rug, 0]) * np.sin(22 * spot[rug, 2]))
    thread = 1 + 0.4 * noise.fractal(spot[rug], 14, 4, 0.9, foot[rug])
    view.colour[rows[rug]] = mix((0.42, 0.10, 0.09), (0.72, 0.62, 0.44), weave) * thread[:, None]


def _ceiling(view: View, rows: np.ndarray, points: np.ndarray, noise: SolidNoise) -> None:
    spot, foot = points[rows], view.footprint(rows)
    plaster = 0.72 * (1 + 0.10 * noise.fractal(spot, 5, 5, 0.85, foot))
    beam = np.maximum(line_cover(spot[:, 0] / 1.2, 0.12, foot / 1.2), line_cover(spot[:, 2] / 1.2, 0.04, foot / 1.2))
    view.colour[rows] = mix((1, 1, 1), (0.45, 0.36, 0.28), beam) * plaster[:, None]
    panel = (np.abs(spot[:, 0] % 2.4 - 1.2) < 0.3) & (np.abs(spot[:, 2] % 2.4 - 1.2) < 0.3)
    view.colour[rows[panel]] = np.float32([1.7, 1.65, 1.5])


def _wall(u: np.ndarray, v: np.ndarray, points: np.ndarray, foot: np.ndarray, noise: SolidNoise,
          look: dict) -> np.ndarray:
    """Return (N, 3) plaster with a skirting board and, hung on it, what the look asks for; u, v: metres right, up."""
    grain = 1 + 0.12 * noise.fractal(points, 6, 5, 0.9, foot) + 0.06 * noise.fractal(points, 0.6, 3)
    wall = np.asarray(look["tone"], np.float32) * grain[:, None]
    wall[v < 0.12] = np.float32([0.6, 0.57, 0.52])
    {"window": _window, "shelves": _shelves, "pictures": _pictures, "poster": _poster}[look["what"]](
        wall, u, v, points, foot, noise, look)
    return wall


def _window(wall: np.ndarray, u: np.ndarray, v: np.ndarray, points: np.ndarray, foot: np.ndarray, noise: SolidNoise,
            look: dict) -> None:
    low, high = 0.8, 0.85 * look["height"]
    on = (np.abs(u % 2.4 - 1.2) < 0.8) & (v > low) & (v < high)
    level = (v[on] - low) / (high - low)
    sky = mix((0.85, 0.93, 1.1), (1.25, 1.35, 1.6), level)
    tree = noise.fractal(points[on], 1.4, 6, 0.75, foot[on]) + 1.0 - 2.2 * level > 0
    leaf = organic(points[on], foot[on], noise, (0.03, 0.08, 0.02), (0.5, 0.62, 0.25), 9.0)
    frame = (np.abs(u[on] % 2.4 - 1.2) > 0.74) | (np.abs(u[on] % 0.8 - 0.4) < 0.025) | (np.abs(level - 0.66) < 0.015)
    wall[on] = np.where(frame[:, None], np.float32([0.8, 0.79, 0.75]), np.where(tree[:, None], leaf, sky))


def _shelves(wall: np.ndarray, u: np.ndarray, v: np.ndarray, points: np.ndarray, foot: np.ndarray, noise: SolidNoise,
             look: dict) -> None:
    """Paint shelves of books on a wall."""
    on = (v > 0.15) & (v < 0.9 * look["height"]) & (u > 0.3) & (u < look["width"] - 0.3)
    x, y = u[on], v[on]
    shelf, tall = np.floor(y / 0.36), y / 0.36 % 1
    book = np.floor(x / 0.045 + 5 * hash_unit(shelf, 1))
    height = 0.55 + 0.35 * hash_unit(book, shelf, look["seed"])
    colour = np.stack([hash_unit(book, shelf, k) for k in (1, 2, 3)], axis=1) ** 1.5 * 0.7 + 0.04
    title = glyphs((tall - 0.2) * 60, (x / 0.045 + 5 * hash_unit(shelf, 1)) % 1 * 11 - 2, look["seed"]) > 0
    band = title & (tall > 0.2) & (tall < height - 0.1) & (hash_unit(book, shelf, 9) > 0.3)
    colour[band] = 0.85 - 0.5 * colour[band]
    gap = (tall > height) | (hash_unit(book, shelf, 7) < 0.08)
    colour[gap] = np.float32([0.06, 0.045, 0.03])
    colour[(tall < 0.07) | (np.abs(x % 1.2 - 0.6) > 0.58)] = np.float32([0.36, 0.23, 0.13])
    wall[on] = colour * (1 + 0.15 * noise.fractal(points[on], 20, 3, 0.9, foot[on]))[:, None]


def _pictures(wall: np.ndarray, u: np.ndarray, v: np.ndarray, points: np.ndarray, foot: np.ndarray, noise: SolidNoise,
              look: dict) -> None:
    """Paint a row of framed pictures on a wall."""
    number = np.floor(u / 1.5)
    x, y = u / 1.5 - number - 0.5, (v - 1.6) / 1.1
    size = 0.26 + 0.12 * hash_unit(number, look["seed"])
    on = (np.abs(x) < size) & (np.abs(y) < size)
    frame = np.maximum(np.abs(x), np.abs(y))[on] > size[on] - 0.035
    stroke = noise.fractal(points[on] + 3.0 * number[on, None], 2.0, 6, 0.75, foot[on])
    tint = np.stack([hash_unit(number[on], k, look["seed"]) for k in (4, 5, 6)], axis=1)
    paint = mix(0.9 * tint, 0.9 * (1 - tint) ** 2, ramp(stroke + 0.8 * y[on], -0.4, 0.5))
    wall[on] = np.where(frame[:, None], np.float32([0.28, 0.19, 0.08]), paint * (1 + 0.3 * stroke)[:, None])


def _poster(wall: np.ndarray, u: np.ndarray, v: np.ndarray, points: np.ndarray, foot: np.ndarray, noise: SolidNoise,
            look: dict) -> None:
    """Paint posters on a wall: a heading, small print and a figure, all of letters that only detail keeps readable."""
    number = np.floor(u / 1.3)
    x, y = (u / 1.3 - number) * 1.3 - 0.15, 2.35 - v
    on = (x > 0) & (x < 1.0) & (y > 0) & (y < 1.3)
    x, y, sheet = x[on], y[on], number[on]
    heading = y < 0.34
    dots = np.where(heading, 0.018, 0.0085)
    ink = glyphs(x / dots - 2, y / dots - 2, look["seed"]) * ((x > 0.03) & (x < 0.97) & (y > 0.03))
    figure = (y > 0.5) & (y < 0.95) & (x > 0.5)
    paper = np.stack([0.55 + 0.4 * hash_unit(sheet, k, look["seed"]) for k in (1, 2, 3)], axis=1)
    colour = mix(paper, np.float32([0.05, 0.05, 0.09]), ink * ~figure)
    colour[figure] = mix((0.1, 0.2, 0.5), (0.9, 0.7, 0.2), ramp(np.sin(30 * x * y), -0.2, 0.2))[figure]
    wall[on] = colour * (1 + 0.05 * noise.fractal(points[on], 9, 4, 0.8, foot[on]))[:, None]


def _furniture(view: View, half: np.ndarray, world: np.random.Generator, noise: SolidNoise, lamp: np.ndarray) -> None:
    """Stand one box (a chest, a table block, a crate) on the floor and paint the sides the viewer sees."""
    size = np.float32([world.uniform(0.3, 0.8), world.uniform(0.4, 1.1), world.uniform(0.3, 0.8)])
    place = world.uniform(-0.75, 0.75, 2) * half[[0, 2]]
    if np.hypot(*place) < 1.0:
        place *= 1.2 / max(np.hypot(*place), 1e-3)
    low = np.float32([place[0], -EYE, place[1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = low / view.rays, (low + size) / view.rays
    enter = np.minimum(a, b)
    depth = enter.max(axis=1)
    hit = (depth > 0.2) & (depth < np.maximum(a, b).min(axis=1)) & (depth < view.depth)
    rows = np.flatnonzero(hit)
    axis = enter[rows].argmax(axis=1)
    view.depth[rows] = depth[rows]
    points = view.rays[rows] * depth[rows, None]
    colours = world.uniform(0.02, 0.7, (2, 3))
    wood = organic(points * np.float32([1, 8, 1]), view.footprint(rows) * 4, noise, colours[0] * 0.4, colours[1], 1.5)
    local = (points - low) / size
    edge = (np.sort(np.minimum(local, 1 - local), axis=1)[:, 1] < 0.04).astype(np.float32)
    drawer = line_cover(local[:, 1] * 3, 0.04, view.footprint(rows) * 3 / size[1]) * (axis != 1)
    shade = np.float32([0.7, 1.05, 0.5])[axis] / (0.7 + 0.3 * np.linalg.norm(points - lamp, axis=1) / half.max())
    view.colour[rows] = wood * (shade * (1 - 0.4 * edge) * (1 - 0.6 * drawer))[:, None]
