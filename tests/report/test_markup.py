"""Markup: whatever comes from outside is text, never markup; tables and pictures are whole."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.report.markup import Html, data_uri, element, escaped, shrunk_jpeg, table_html
from mmifn.report.tables import Table

HOSTILE = """<script>alert("1")</script><img src=x onerror='f()'>&amp;"""


class Seen(HTMLParser):
    """The tags of a page in order, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_hostile_words_are_words_in_text_and_in_attributes():
    seen = Seen(element("p", HOSTILE, [HOSTILE], title=HOSTILE))
    assert seen.tags == [("p", {"title": HOSTILE})] and "".join(seen.text) == 2 * HOSTILE


def test_markup_passes_once_and_joins_to_text_again():
    inner = element("b", "a < b")
    assert inner == "<b>a &lt; b</b>" and escaped(inner) is inner
    assert element("p", inner, ["x", (inner, 3)]) == f"<p>{inner}x{inner}3</p>"
    assert escaped(inner + "<i>") == "&lt;b&gt;a &amp;lt; b&lt;/b&gt;&lt;i&gt;"  # a sum of strings is no markup


def test_markup_in_an_attribute_is_text_too():
    assert Seen(element("p", title=Html('"><script>'))).tags == [("p", {"title": '"><script>'})]


def test_attributes_and_tags_without_an_end():
    assert element("img", class_="c", aria_hidden="true", http_equiv=None) == '<img class="c" aria-hidden="true">'
    assert element("meta", http_equiv="X", content="y") == '<meta http-equiv="X" content="y">'
    assert element("p") == "<p></p>"


def test_a_table_of_hostile_cells():
    table = Table(HOSTILE, ["what", HOSTILE], [[HOSTILE, "1"], None, ["b", "2"]], [HOSTILE, "once", "once"])
    page = table_html(table)
    seen = Seen(page)
    assert {tag for tag, _ in seen.tags} == {"section", "h3", "div", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert seen.text == [HOSTILE, "what", HOSTILE, HOSTILE, "1", "b", "2", HOSTILE, "once"]
    scroll = dict(seen.tags)["div"]
    assert scroll["aria-label"] == HOSTILE and scroll["tabindex"] == "0" and scroll["class"] == "scroll"
    assert [attributes["scope"] for tag, attributes in seen.tags if tag == "th"] == ["col", "col", "row", "row"]
    assert "<ul" not in table_html(Table("t", ["a"], [["b"]]))


def test_a_data_uri_by_hand():
    assert data_uri(b"\x00\xff", "png") == "data:image/png;base64,AP8=" and base64.b64decode("AP8=") == b"\x00\xff"


@pytest.fixture
def noise(tmp_path):
    """A panorama that compresses badly."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)).save(path)
    return path


def test_pictures_keep_to_width_and_bytes(noise):
    content, size = shrunk_jpeg(noise, 200, 10**6, panorama=True)
    assert size == (200, 100) == Image.open(io.BytesIO(content)).size and Image.open(io.BytesIO(content)).format == "JPEG"
    lower, same = shrunk_jpeg(noise, 200, len(content) - 1, panorama=True)
    assert same == size and len(lower) < len(content)
    tiny, smaller = shrunk_jpeg(noise, 200, 2000, panorama=True)
    assert len(tiny) <= 2000 and smaller in ((100, 50), (50, 25), (25, 12))
    assert shrunk_jpeg(noise, 4000, 10**7, panorama=True)[1] == (512, 256)  # never enlarged
    assert shrunk_jpeg(noise, 200, 1, panorama=True)[1][0] <= 16  # an impossible limit ends too


def test_pictures_that_cannot_be_read_are_a_message(noise):
    with pytest.raises(UserError, match="does not exist"):
        shrunk_jpeg(noise.with_name("gone.png"), 100, 1000, panorama=True)
    square = noise.with_name("square.png")
    Image.new("RGB", (64, 64)).save(square)
    with pytest.raises(UserError, match="2:1"):
        shrunk_jpeg(square, 100, 10**5, panorama=True)
    assert shrunk_jpeg(square, 100, 10**5, panorama=False)[1] == (64, 64)
