"""Text of unknown origin: what a terminal would obey, or no table could hold, is shown as its code."""

import re

import pytest

from mmifn.core.text import matched, printable


@pytest.mark.parametrize(("text", "shown"), [
    ("größe 图.jpg", "größe 图.jpg"), ("a\x1b[31mb", "a\\x1b[31mb"), ("a\r\nb", "a\\r\\nb"), ("\x07", "\\x07"), ("\x85", "\\x85"),
    (b"a\xff\x80b".decode("utf-8", "surrogateescape"), "a\\xff\\x80b"), ("\ud800", "\\ud800"), ("\udc7f", "\\udc7f"),
    ("\udd00", "\\udd00"),
])  # fmt: skip
def test_control_characters_and_bytes_become_escapes(text, shown):
    assert printable(text) == shown


def test_what_is_wanted_is_kept():
    assert printable("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"


def test_the_whole_text_must_match():
    assert matched(re.compile(r"a(\d)"), "a1")[1] == "1"
    with pytest.raises(ValueError, match="'a12' does not match"):
        matched(re.compile(r"a(\d)"), "a12")
