"""Calibrated words for a verdict: varied English, the same for the same measurements.

The wording of a sentence is chosen by the severities in half steps, never by chance, so like pictures read alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmifn.describe.calibration import KINDS, Verdict
from mmifn.describe.places import strength_by_view, worst_region
from mmifn.describe.statistics import Statistics

WORDING = 2  # raise it whenever a change alters texts
MENTIONED = 0.6  # severity from which a kind beside the dominant one is mentioned
_LEVELS = ((0.35, "barely visible"), (0.9, "slight"), (1.5, "mild"), (2.1, "noticeable"), (2.7, "clear"), (3.3, "strong"),
           (3.9, "very strong"), (4.4, "severe"), (9.9, "extreme"))
_OVERALL = ((0.3, "excellent"), (0.7, "very good"), (1.3, "good"), (2.0, "fair"), (2.7, "mediocre"), (3.4, "poor"),
            (4.1, "bad"), (9.9, "very bad"))
_MIN_BLOCKING = 0.3  # grey levels of excess step from which a grid is seen


def _word(table: Sequence[tuple[float, str]], value: float) -> str:
    return next(word for limit, word in table if value <= limit)


def strength_word(severity: float) -> str:
    """Return the adjective of a severity, 0..5."""
    return _word(_LEVELS, severity)


def overall_word(loss: float) -> str:
    """Return the verdict on an overall loss, 0..5."""
    return _word(_OVERALL, loss)


def _pick(variants: Sequence[str], severity: float) -> str:
    return variants[int(2 * severity) % len(variants)]


def _blocks(statistics: Statistics) -> str:
    """Name the block grid that was found ("8x8 blocking"), or return "" where there is none to be seen."""
    across, down = statistics.grids
    if max(across.strength, down.strength) < _MIN_BLOCKING:
        return ""
    main, other = sorted((across, down), key=lambda grid: -grid.strength)
    if other.strength > _MIN_BLOCKING / 2 and abs(other.period_px - main.period_px) < 0.3:
        return f"{main.period_px:g}x{main.period_px:g} blocking"
    return f"blocking every {main.period_px:g} pixels"


def _compression(statistics: Statistics, severity: float, where: str) -> str:
    word, blocks = strength_word(severity), _blocks(statistics)
    if blocks:
        return _pick((f"{word} {blocks} from compression{where}", f"{word} compression with {blocks}{where}",
                      f"{word} compression artifacts, {blocks}{where}"), severity)
    return _pick((f"{word} compression without a block grid: fine texture is smeared away{where} while firm edges stay",
                  f"{word} loss of texture to compression{where}, with smeared surfaces between the edges that are left",
                  f"{word} compression smear{where}: weak detail is wiped out, strong contours remain"), severity)


def _noise(statistics: Statistics, severity: float, where: str) -> str:
    coloured = statistics.values["chroma_noise_floor"] > 0.5 * statistics.values["noise_floor"]
    grain = "coloured grain" if coloured else "grain"
    word = strength_word(severity)
    return _pick((f"{word} noise, {grain} over all surfaces{where}", f"{word} random noise{where}, seen as {grain}",
                  f"{word} {grain} from noise{where}"), severity)


def _blur(statistics: Statistics, severity: float, where: str) -> str:
    word = strength_word(severity)
    return _pick((f"{word} blur{where}: even the sharpest edges are soft", f"{word} blurring{where}, fine detail is gone",
                  f"{word} blur with soft contours{where}"), severity)


_SENTENCES = {"compression": _compression, "noise": _noise, "blur": _blur}


def _where(kind: str, statistics: Statistics) -> str:
    place = worst_region(kind, statistics.per_viewport, statistics.centres_deg)
    return f", most visible {place}," if place else ""


def _side_effects(statistics: Statistics, verdict: Verdict) -> list[str]:
    """Name what strong compression does besides."""
    values, severity = statistics.values, verdict.severity["compression"]
    if severity < 1.0:
        return []
    found = []
    if values["flat_chroma"] > 0.25:
        found.append("colours flattened" if values["flat_chroma"] > 0.5 else "colours partly flattened")
    if values["banding"] > 0.01:
        found.append("banding in smooth areas" if values["banding"] < 0.025 else "marked banding in smooth areas")
    if values["ringing"] > 0.3:
        found.append("ringing around edges")
    return found


def _look(statistics: Statistics) -> list[str]:
    """Name exposure, contrast and colour where they stand out."""
    values, found = statistics.values, []
    if values["brightness"] < 60:
        found.append("very dark" if values["brightness"] < 35 else "dark exposure")
    elif values["brightness"] > 185:
        found.append("very bright exposure")
    if values["bright"] > 0.03:
        found.append("burnt-out highlights")
    if values["dark"] > 0.15:
        found.append("crushed shadows")
    if values["contrast"] < 22:
        found.append("low contrast")
    elif values["contrast"] > 65:
        found.append("high contrast")
    if values["colourfulness"] < 8:
        found.append("hardly any colour")
    elif values["colourfulness"] > 60:
        found.append("vivid colours")
    return found


def _joined(parts: Sequence[str]) -> str:
    text = "; ".join(parts).replace(",,", ",").replace(",:", ":").replace(",;", ";").rstrip(",")
    return text[0].upper() + text[1:] + "." if text else ""


def put_into_words(statistics: Statistics, verdict: Verdict) -> str:
    """Return the description of a panorama: the dominant distortion first, then what is beside it, then the verdict."""
    others = [kind for kind in KINDS if kind != verdict.dominant and verdict.severity[kind] >= MENTIONED]
    if verdict.dominant == "none":
        first = [_pick(("sharp and clean, with fine texture intact", "no visible distortion: crisp edges and clean surfaces",
                        "clean and detailed throughout"), verdict.loss)]
        others = []
    else:
        severity = max(verdict.severity[verdict.dominant], 0.36)
        first = [_SENTENCES[verdict.dominant](statistics, severity, _where(verdict.dominant, statistics))]
    others.sort(key=lambda kind: -verdict.severity[kind])
    second = [f"{strength_word(verdict.severity[kind])} {kind}" for kind in others]
    if verdict.dominant != "none":
        second += _side_effects(statistics, verdict)
    sentences = [_joined(first), _joined([*second, *_look(statistics)])]
    return " ".join([*(part for part in sentences if part), f"Overall: {overall_word(verdict.loss)}."])


def put_view_into_words(statistics: Statistics, verdict: Verdict, index: int) -> str:
    """Return the description of one viewport: where it looks, how the panorama's distortion shows there, its look."""
    lon, lat = statistics.centres_deg[index]
    view = statistics.per_viewport[index]
    place = f"View towards longitude {lon:.0f}°, latitude {lat:+.0f}°"
    local = Statistics({**statistics.values, **{name: view[name] for name in ("brightness", "bright", "dark", "contrast",
                       "colourfulness")}}, [view], statistics.centres_deg[index:index + 1], statistics.grids)
    if verdict.dominant == "none":
        return " ".join([f"{place}: clean.", *filter(None, [_joined(_look(local))])])
    relative = float(strength_by_view(verdict.dominant, statistics.per_viewport)[index])
    severity = min(5.0, max(verdict.severity[verdict.dominant], 0.36) * min(relative, 1.5))
    compared = "stronger than elsewhere" if relative > 1.15 else "weaker than elsewhere" if relative < 0.85 else \
        "about as everywhere"
    sentence = _SENTENCES[verdict.dominant](statistics, severity, "")
    return " ".join([f"{place}: {sentence}, {compared}.", *filter(None, [_joined(_look(local))])])
