"""Calibrated words for a verdict: varied English, the same for the same measurements.

The wording of a sentence is chosen by the severities in quarter steps, never by chance, so like pictures read alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmifn.describe.measured.calibration import KINDS, MAX_SEVERITY, Verdict
from mmifn.describe.measured.camera import camera_faults, faults_of_view
from mmifn.describe.measured.local import Finding, covers, here
from mmifn.describe.measured.places import SMEAR, strength_by_view, worst_region
from mmifn.describe.measured.statistics import Statistics

WORDING = 2  # raise it whenever a change alters texts
MENTIONED = 1.2  # severity from which a kind beside the dominant one is mentioned
# Severity from which a cause is told of a panorama that is as good as a flawless one, and noise or compression of a part whatever
# the model scores.
NOTICEABLE = 1.5
_LEVELS = ((0.35, "barely visible"), (0.9, "slight"), (1.5, "mild"), (2.1, "noticeable"), (2.7, "clear"), (3.3, "strong"),
           (3.9, "very strong"), (4.4, "severe"), (9.9, "extreme"))
_OVERALL = ((0.3, "excellent"), (0.7, "very good"), (1.3, "good"), (2.0, "fair"), (2.7, "mediocre"), (3.4, "poor"),
            (4.1, "bad"), (9.9, "very bad"))
_MIN_BLOCKING = 0.3  # grey levels of excess step from which a grid is seen
_MAX_BLOCK_PX = 32.0  # longer periods are patterns of the scene rather than a codec's
# What is said of highlights without detail: in texts that models learn from, and to a reader, who is told apart where white is a
# fault (camera.py): a white sky is none.
_BURNT, _WHITE = "burnt-out highlights", "white highlights"
_CLEAN_VIEW = "clean, no visible distortion."
_UNEXPLAINED = "scored low for what words do not tell."
_CLEAN = (("sharp and clean, with fine texture intact", "no visible distortion: crisp edges and clean surfaces",
           "clean and detailed throughout"),) * 3


def _word(table: Sequence[tuple[float, str]], value: float) -> str:
    return next(word for limit, word in table if value <= limit)


def strength_word(severity: float) -> str:
    """Return the adjective of a severity, 0..5."""
    return _word(_LEVELS, severity)


def overall_word(loss: float) -> str:
    """Return the verdict on an overall loss, 0..5."""
    return _word(_OVERALL, loss)


def _pick(tiers: Sequence[Sequence[str]], severity: float) -> str:
    """Choose a phrase: the tier (slight, clear, strong) by severity, the variant within it by quarter steps."""
    tier = tiers[0 if severity < 1.2 else 1 if severity < 2.8 else 2]
    return tier[int(4 * severity) % len(tier)]


def block_grid(statistics: Statistics) -> str:
    """Name the block grid that was found ("8x8 blocking"), or return "" where there is none to be seen."""
    across, down = statistics.grids
    main, other = sorted((across, down), key=lambda grid: -grid.strength)
    if main.strength < _MIN_BLOCKING or main.period_px > _MAX_BLOCK_PX:
        return ""
    if other.strength > _MIN_BLOCKING / 2 and abs(other.period_px - main.period_px) < 0.3:
        return f"{main.period_px:g}x{main.period_px:g} blocking"
    return f"blocking every {main.period_px:g} pixels"


# {w}: strength, {b}: blocking, {g}: grain, {at}: where it is most visible
# ("" or ", most visible …"); {in_passing}: the same where the sentence goes on without a mark (", most visible …,").
_BLOCKED = (("{w} {b} from compression{at}", "{w} compression, {b} can be found{in_passing} on close inspection"),
            ("{w} {b} from compression{at}", "{w} compression with {b}{at}", "{w} compression artifacts, {b}{at}"),
            ("{w} {b} from heavy compression{at}", "{w} compression artifacts: {b}{in_passing} breaks up surfaces and contours"))
_SMEARED = (("{w} compression{at}: the finest texture is a little smoothed", "{w} loss of fine texture to compression{at}"),
            ("{w} compression without a block grid{at}: fine texture is smeared while firm edges stay",
             "{w} loss of texture to compression{at}, with smooth patches between the edges that are left"),
            ("{w} compression smear{at}: weak detail is wiped out, strong contours remain",
             "{w} loss of texture to compression{at}: surfaces are smeared into flat patches"))
_NOISY = (("{w} noise{at}, fine {g} in smooth areas", "{w} {g} from noise{at}"),
          ("{w} noise, {g} over all surfaces{at}", "{w} random noise{at}, seen as {g}"),
          ("{w} noise{at}: rough {g} covers every surface and hides fine detail", "{w} {g} from heavy noise{at}"))
_BLURRED = (("{w} blur{at}: edges are a little soft", "{w} softness{at}, as from a slight blur"),
            ("{w} blur{at}: edges are soft and fine detail is lost", "{w} blurring{in_passing} with soft contours"),
            ("{w} blur{at}: even the sharpest edges are wide and fine detail is gone",
             "{w} blurring{at}, only coarse shapes are left"))


def _sentence(kind: str, statistics: Statistics, severity: float, where: str) -> str:
    """Describe one distortion as the main one, without a full stop."""
    values, blocks = statistics.values, block_grid(statistics)
    coloured = values["chroma_noise_floor"] > 0.5 * values["noise_floor"]
    tiers = {"noise": _NOISY, "blur": _BLURRED, "compression": _BLOCKED if blocks else _SMEARED}[kind]
    at = f", most visible {where}" if where else ""
    return _pick(tiers, severity).format(w=strength_word(severity), b=blocks, g="coloured grain" if coloured else "grain",
                                         at=at, in_passing=f"{at}," if at else "")


def _sign(kind: str, statistics: Statistics) -> str:
    """Return what tells in a viewport how strong a kind of distortion is there."""
    return kind if kind != "compression" else "blocking" if block_grid(statistics) else SMEAR


def _side_effects(statistics: Statistics, verdict: Verdict) -> list[str]:
    """Name what strong compression does besides."""
    values, severity = statistics.values, verdict.severity["compression"]
    if severity < 1.0:
        return []
    effects = []
    if values["flat_chroma"] > 0.25:
        effects.append("colours flattened" if values["flat_chroma"] > 0.5 else "colours partly flattened")
    if values["banding"] > 0.01:
        effects.append("banding in smooth areas" if values["banding"] < 0.025 else "marked banding in smooth areas")
    if values["ringing"] > 0.3:
        effects.append("ringing around edges")
    return effects


def _look(values: dict[str, float], highlights: str = _WHITE) -> list[str]:
    """Name exposure, contrast and colour where they stand out; highlights: what those without detail are called."""
    remarks = []
    if values["brightness"] < 60:
        remarks.append("very dark" if values["brightness"] < 35 else "dark exposure")
    elif values["brightness"] > 185:
        remarks.append("very bright exposure")
    if values["bright"] > 0.03:
        remarks.append(highlights)
    if values["dark"] > 0.15:
        remarks.append("crushed shadows")
    if values["contrast"] < 22:
        remarks.append("low contrast")
    elif values["contrast"] > 65:
        remarks.append("high contrast")
    if values["colourfulness"] < 8:
        remarks.append("hardly any colour")
    elif values["colourfulness"] > 60:
        remarks.append("vivid colours")
    return remarks


def _joined(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "." if text else ""


def put_into_words(statistics: Statistics, verdict: Verdict) -> str:
    """Return the description of a panorama as text/des.csv has it: causes, then the verdict.

    Models are trained on these texts: a change here, and in what it calls, raises WORDING.
    """
    return f"{causes_in_words(statistics, verdict, _BURNT)} Overall: {overall_word(verdict.loss)}."


def causes_in_words(statistics: Statistics, verdict: Verdict, highlights: str = _WHITE) -> str:
    """Return the dominant distortion of the whole sphere, then what is beside it, and no verdict; highlights: as in _look."""
    kind, second = verdict.dominant, []
    if kind == "none":
        first = _pick(_CLEAN, verdict.loss)
    else:
        where = worst_region(_sign(kind, statistics), statistics.per_viewport, statistics.centres_deg)
        first = _sentence(kind, statistics, verdict.severity[kind], where)
        others = [other for other in KINDS if other != kind and verdict.severity[other] >= MENTIONED]
        others.sort(key=lambda other: -verdict.severity[other])
        second = [f"{strength_word(verdict.severity[other])} {other}" for other in others]
        second += _side_effects(statistics, verdict)
    sentences = [_joined([first]), _joined([*second, *_look(statistics.values, highlights)])]
    return " ".join(filter(None, sentences))


def reader_in_words(statistics: Statistics, verdict: Verdict, parts: Sequence[Finding], least: float = 0.0,
                    low: bool = False) -> str:
    """Return what a reader is told: what covers a part of the sphere by its place, else what covers all of it, and what a camera
    or a stitcher did; no verdict.

    parts: what covers a part, the strongest first; least: severity below which a cause that covers all is not told; low: the
    score is so low that nothing is called clean.
    """
    parted_px = statistics.parted_px if verdict.dominant != "blur" else 0.0  # wide edges tell too little of where colours lie
    look, camera = _joined(_look(statistics.values)), camera_faults(statistics.doubled, statistics.burnt, parted_px)
    spread = _told(verdict, least)
    if not parts and not (spread and verdict.dominant != "none"):
        clean = (" ".join(filter(None, [_joined([_UNEXPLAINED.rstrip(".")]), look])) if low else
                 causes_in_words(statistics, verdict) if spread else _clean(verdict, look))
        return " ".join(filter(None, [_joined(camera), look])) if camera else clean
    phrases = [f"{strength_word(part.severity)} {part.kind} {part.region}" for part in parts] + camera
    if parts and parts[0].rest_clean:
        return " ".join(filter(None, [_joined([*phrases, "the rest is clean"]), look]))
    if parts and (verdict.dominant in ("none", *(part.kind for part in parts)) or not spread):
        return " ".join(filter(None, [_joined(phrases), look]))
    return " ".join(filter(None, [causes_in_words(statistics, verdict), _joined(phrases)]))


def _told(verdict: Verdict, least: float) -> bool:
    """Tell whether what covers the whole sphere is told."""
    return verdict.dominant == "none" or verdict.severity[verdict.dominant] >= least


def _clean(verdict: Verdict, look: str) -> str:
    return " ".join(filter(None, [_joined([_pick(_CLEAN, verdict.loss)]), look]))


def put_view_into_words(statistics: Statistics, verdict: Verdict, index: int) -> str:
    """Return the description of one viewport: where it looks, how the panorama's distortion shows there, its look."""
    lon, lat = statistics.centres_deg[index]
    return f"View towards longitude {lon:.0f}°, latitude {lat:+.0f}°: {view_in_words(statistics, verdict, index, _BURNT)}"


def view_in_words(statistics: Statistics, verdict: Verdict, index: int, highlights: str = _WHITE,
                  most: float = MAX_SEVERITY) -> str:
    """Return how the panorama's distortion shows in one viewport, at `most` how severe, and the viewport's look; highlights: as
    in _look."""
    kind, look = verdict.dominant, _joined(_look(statistics.per_viewport[index], highlights))
    if kind == "none":
        return " ".join(filter(None, [_CLEAN_VIEW, look]))
    relative = float(strength_by_view(_sign(kind, statistics), statistics.per_viewport)[index])
    compared = ("stronger than elsewhere" if relative > 1.15 else "weaker than elsewhere" if relative < 0.85
                else "about as everywhere")
    sentence = _sentence(kind, statistics, min(most, verdict.severity[kind] * min(relative, 1.5)), "")
    return " ".join(filter(None, [f"{sentence}; {compared}.", look]))


def views_for_reader(statistics: Statistics, verdict: Verdict, parts: Sequence[Finding], most: Sequence[float],
                     least: float = 0.0) -> list[str]:
    """Return what a reader is told of each viewport: what covers that part where only parts are distorted.

    most: how severe a cause may be called in each; verdict, parts, least: as of `reader_in_words`.
    """
    if not parts and _told(verdict, least):
        words = [view_in_words(statistics, verdict, i, most=limit) for i, limit in enumerate(most)]
    else:
        words = _views_of_parts(statistics, parts, most, least)
    faults = [faults_of_view(statistics.doubled, statistics.burnt, *centre) for centre in statistics.centres_deg.tolist()]
    return [f"{'; '.join(seen)}. {text.removeprefix(_CLEAN_VIEW).strip()}".strip() if seen else text
            for text, seen in zip(words, faults, strict=True)]


def unexplained(words: str) -> str:
    """Return what is told of a view that a model scores low, without the claim that it is clean."""
    return words.replace(_CLEAN_VIEW, _UNEXPLAINED, 1)


def _views_of_parts(statistics: Statistics, parts: Sequence[Finding], most: Sequence[float], least: float) -> list[str]:
    """Return `views_for_reader` where parts are told, or nothing is."""
    words = []
    for (lon, lat), values, limit in zip(statistics.centres_deg, statistics.per_viewport, most, strict=True):
        kind, severity = here(statistics.patches, float(lon), float(lat))
        covering = next((part for part in parts if covers(part.region, float(lon), float(lat))), None)
        if covering and (severity <= least or kind == covering.kind):  # what is told of the region holds for its views
            kind, severity = covering.kind, max(severity, covering.severity)
        severity = min(severity, limit)
        first = f"{strength_word(severity)} {kind}." if covering or (parts and severity > least) else _CLEAN_VIEW
        words.append(" ".join(filter(None, [first, _joined(_look(values))])))
    return words
