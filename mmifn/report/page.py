"""results/report.html: tables, figures and the images worth looking at, on one page that needs nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mmifn import __version__
from mmifn.core.errors import UserError
from mmifn.core.files import write_text
from mmifn.data.manifest import check_name
from mmifn.data.workspace import Workspace
from mmifn.describe.table import read_descriptions
from mmifn.experiment.predictions import Predictions, read_predictions
from mmifn.report.figures import Drawing, draw_all, remark_on
from mmifn.report.findings import Example, examples_tested, pick_examples
from mmifn.report.markup import Html, data_uri, element, scrolling, shrunk_jpeg, table_html
from mmifn.report.tables import read_tables

EXAMPLES = 3  # images of each kind and database
VIEWS = 4  # viewports shown of each image
PICTURES_BYTES = 3_000_000  # of all panoramas and viewports together; a third more as text of the page
PANORAMA_PX, VIEW_PX = 720, 224
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # a reader's browser asks nobody for anything


@dataclass(frozen=True)
class Part:
    """One part of the report: what its script left in results/, and the figures drawn of it."""

    anchor: str
    title: str
    tables: str
    predictions: str
    script: str
    figures: tuple[str, ...]


PARTS = (Part("within", "Within a database", "evaluation_results", "predictions", "evaluate.py",
              ("scatter", "splits", "training")),
         Part("across", "Across databases", "cross_validation_results", "cross_predictions", "cross_eval.py",
              ("cross_database",)),
         Part("ablation", "Ablation", "ablation_results", "ablation_predictions", "ablation_study.py", ("ablation",)))


def make_report(space: Workspace) -> list[Path]:
    """Draw the figures and write the page from what is in results/; returns what was written, the page first.

    Parts whose script has not run are named as missing. Raises UserError where nothing has run at all, or a file is damaged.
    """
    predictions = {part.anchor: read_predictions(space.results / f"{part.predictions}.pt", part.script) for part in PARTS}
    if not any(predictions.values()):
        raise UserError(f"{space.results} has no predictions to report.\nMake them: python evaluate.py (then cross_eval.py and "
                        "ablation_study.py), or everything with python run_pipeline.py")
    tables = {part.anchor: _tables(space.results / f"{part.tables}.csv") for part in PARTS}
    drawings = draw_all(*predictions.values())
    pictures = {name: drawing.save(space.results / "figures") for name, drawing in drawings.items()}
    sections = [_section(part, tables[part.anchor], [_drawing(drawings[name], pictures[name][0]) for name in part.figures
                                                     if name in drawings]) for part in PARTS]
    path = space.results / "report.html"
    write_text(path, _page(predictions, [*sections, _images(space, predictions["within"])]))
    return [path, *(file for files in pictures.values() for file in files)]


def _tables(path: Path) -> list[Html]:
    return [table_html(table) for table in read_tables(path)] if path.exists() else []


def _section(part: Part, tables: list[Html], figures: list[Html]) -> Html:
    """Return one part with its tables and figures, or with the command that makes them."""
    missing = [] if tables and figures else element("p", f"Not there yet: python {part.script}", class_="missing")
    return element("section", element("h2", part.title), missing, tables, figures, id=part.anchor)


def _drawing(drawing: Drawing, png: Path) -> Html:
    image = element("img", src=data_uri(png.read_bytes(), "png"), alt=f"{drawing.title}. {drawing.caption}")
    files = f" Files: figures/{drawing.name}.png, .pdf, and the numbers as .csv."
    words = element("figcaption", element("strong", f"{drawing.title}. "), drawing.caption, files)
    return element("figure", scrolling(image, drawing.title), words, class_="drawing")


def _page(predictions: dict[str, Predictions | None], sections: list[Html]) -> Html:
    """Return the whole page: what must be said of the data, links to the sections, and these."""
    """Put the page together: head with style and policy, what warns, contents, sections."""
    style = resources.files("mmifn.report").joinpath("report.css").read_text(encoding="utf-8")
    head = element("head", element("meta", charset="utf-8"),
                   element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                   element("meta", http_equiv="Content-Security-Policy", content=POLICY),
                   element("title", "MMIFN: report"), element("style", Html(style)))
    links = [element("li", element("a", title, href=f"#{anchor}"))
             for anchor, title in [*((part.anchor, part.title) for part in PARTS), ("images", "Images")]]
    warnings = dict.fromkeys(remark_on(part, list(part.labels)) for part in predictions.values() if part is not None)
    top = element("header", element("h1", "MMIFN: report"),
                  element("p", "No-reference quality assessment of 360° images: how predicted scores agree with opinion scores.",
                          class_="lead"),
                  [element("p", f"{words}.", class_="warning") for words in warnings if words],
                  element("nav", element("ul", links), aria_label="Parts of this report"))
    end = element("footer", element("p", f"Made by mmifn {__version__} (tools/make_report.py) from the files in results/."))
    body = element("body", top, element("main", sections), end)
    return Html(f"<!doctype html>\n{element('html', head, body, lang='en')}\n")


def _images(space: Workspace, evaluated: Predictions | None) -> Html:
    """Return the best predicted, worst predicted and most disputed test images of every database."""
    if evaluated is None:
        return element("section", element("h2", "Images"), element("p", "Not there yet: python evaluate.py", class_="missing"),
                       id="images")
    lead = ("Images that were a test image of at least one split, by the mean of the scores those splits gave them. Error: mean "
            "score minus MOS. Disputed: largest SD of the scores over splits. Pictures are reduced and compressed: judge "
            "distortions on the files.")
    picked = {name: pick_examples(examples_tested(evaluated.rows, name), EXAMPLES) for name in evaluated.labels}
    share = PICTURES_BYTES // max(1, sum(len(some) for kinds in picked.values() for some in kinds.values()))
    return element("section", element("h2", "Images"), element("p", lead, class_="lead"),
                   [_database(space, name, kinds, share) for name, kinds in picked.items()], id="images")


def _database(space: Workspace, name: str, kinds: dict[str, list[Example]], share: int) -> Html:
    shown = [example for examples in kinds.values() for example in examples]
    values = [value for example in shown for value in (example.mos, *example.scores)]
    ends = (math.floor(min(values)), math.ceil(max(values)))
    return element("section", [
        element("section", element("h3", f"{name}: {kind.lower()}"),
                element("div", [_card(space, example, ends, share) for example in examples], class_="cards") if examples
                else element("p", "No image was a test image of two splits; more splits will tell (--splits).", class_="missing"))
        for kind, examples in kinds.items()])


def _card(space: Workspace, example: Example, ends: tuple[int, int], share: int) -> Html:
    """Return one image: panorama, viewports, MOS and scores on a common scale, description."""
    splits = f"{len(example.scores)} split{'s' if len(example.scores) > 1 else ''}"
    spread = f", SD {example.spread:.1f}" if len(example.scores) > 1 else ""
    words = f"MOS {example.mos:.1f}, predicted {example.score:.1f} (error {example.error:+z.1f}; {splits}{spread})"

    def at(value: float) -> str:
        return f"left:{100 * (value - ends[0]) / max(1, ends[1] - ends[0]):.2f}%"

    marks = [element("b", style=at(example.mos)), *(element("i", style=at(score)) for score in example.scores)]
    scale = element("div", element("div", marks, class_="scale", aria_hidden="true"),
                    element("div", element("span", ends[0]), element("span", "bar MOS, rings scores"), element("span", ends[1]),
                            class_="ends", aria_hidden="true"))
    return element("article", _pictures(space, example, share), element("h4", example.image_name, class_="name"),
                   element("p", f"{example.distortion_type}. {words}"), scale, _description(space, example))


def _pictures(space: Workspace, example: Example, share: int) -> Html:
    """Return the panorama and a few of its viewports; half of the bytes are for either."""
    if check_name(example.image_name):
        return element("p", "The panorama's name leaves its folder; not shown.", class_="missing")
    folder = space.viewports_dir(example.dataset) / Path(example.image_name).with_suffix("")
    views = sorted(folder.glob("viewport_*.png"))
    views = [views[i * len(views) // VIEWS] for i in range(VIEWS)] if len(views) >= VIEWS else views
    whole = _picture(space.images_dir(example.dataset) / example.image_name, f"Panorama {example.image_name}", PANORAMA_PX,
                     share // 2, True)
    some = [_picture(path, f"{path.stem.replace('_', ' ')} of {example.image_name}", VIEW_PX, share // (2 * VIEWS), False)
            for path in views]
    return element("figure", whole, element("div", some, class_="views") if some
                   else element("p", "No viewport pictures.", class_="missing"))


def _picture(path: Path, words: str, width_px: int, limit_bytes: int, panorama: bool) -> Html:
    try:
        content, (width, height) = shrunk_jpeg(path, width_px, limit_bytes, panorama=panorama)
    except UserError as error:
        return element("p", f"{words}: {str(error).replace(str(path), path.name)}", class_="missing")
    return element("img", src=data_uri(content, "jpeg"), alt=words, width=width, height=height)


def _description(space: Workspace, example: Example) -> Html:
    try:
        words = read_descriptions(space.descriptions, example.dataset, [example.image_name])[example.image_name]
    except UserError:
        return element("p", "No description in text/des.csv.", class_="missing")
    return element("p", words, dir="auto")
