"""JSON as its standard has it: nothing that is no number, nothing so deep that reading it fails otherwise."""

import pytest

from mmifn.core.json_text import parse_json


@pytest.mark.parametrize(("text", "words"), [
    ('{"a": NaN}', "holds NaN"), ("[-Infinity]", "holds -Infinity"), ("[1e999]", "holds 1e999"),
    ("[" * 100_000, "nested too deep"), ('{"a": ' * 50_000, "nested too deep"), ("{", "Expecting"), ("", "Expecting"),
    ("[1] 2", "Extra data"), ("1 2", "Extra data"), ("1\u00a0", "Extra data"), ("\u2003[1]", "Expecting"), (" \n", "Expecting"),
    (b"\xff", "decode"), ("[" + "9" * 400 + "]", "holds 9999"),
])  # fmt: skip
def test_what_is_no_json_is_a_value_error(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)


def test_json_is_read():
    assert parse_json('{"a": [1, 2.5, null, true, "ä"]}') == parse_json('\ufeff{"a": [1, 2.5, null, true, "ä"]}'.encode()) == {
        "a": [1, 2.5, None, True, "ä"]} == parse_json('\r\n\t {"a": [1, 2.5, null, true, "ä"]} \n\t\r ')
