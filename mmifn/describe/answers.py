"""Tell a usable answer of a language model from an empty or degenerate one; nothing is ever made up in its place."""

from __future__ import annotations

import re

MIN_WORDS = 3
MAX_REPEATS = 5  # the same phrase this often in a row is a model that got stuck
_PHRASE_WORDS = 6
_MIN_DISTINCT = 0.2  # of the words of a longer text; prose has more than .5
_LONG_WORDS = 25
_SENTENCE_END = re.compile(r"[.!?。！？][\"')\]”’]*(?=\s|$)|[。！？]")


def words_of(text: str) -> list[str]:
    """Split into lower-case words; a script without spaces counts each character as one."""
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+", text.lower())


def fault_of(text: str) -> str:
    """Return why a text is no description, or "" where it is one."""
    words = words_of(text)
    if not words:
        return "empty answer"
    if len(words) < MIN_WORDS:
        return f"only {len(words)} word(s): {text.strip()!r}"
    for length in range(1, _PHRASE_WORDS + 1):
        run = 1
        for i in range(length, len(words) - length + 1, length):
            run = run + 1 if words[i:i + length] == words[i - length:i] else 1
            if run >= MAX_REPEATS:
                return f"degenerate answer, {' '.join(words[i:i + length])!r} again and again"
    if len(words) >= _LONG_WORDS and len(set(words)) < _MIN_DISTINCT * len(words):
        return f"degenerate answer, {len(set(words))} different words in {len(words)}"
    return ""


def whole_sentences(text: str) -> str:
    """Return a text up to the end of its last complete sentence, "" where there is none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[:ends[-1]] if ends else ""
