"""Cutting a text that is too long for one message: apart, as it is the caller's choice to do so."""

from __future__ import annotations

from .errors import BodyRefused
from .limits import MAX_BASE64_BODY, MAX_BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

#: What the server strips from the front of a Body.
_BLANKS = tuple(map(chr, range(0x21)))

_JOINER = "\u200d"


def split_body(text: str) -> List[str]:
    """Cut a text into parts that each fit one MessageSend, and that joined give the text.

    A part is cut behind a line end where there is one in its second half, else behind a blank,
    else between two characters as a reader sees them (base and accents, emoji sequences, flags:
    as far as the standard library's Unicode data tells), and never inside a character.

    :param text: any text UTF-8 can carry (str).
    :return: the parts (list of str); the text alone, even an empty one, where it fits.
    :raises BodyRefused: for a lone surrogate.

    >>> [len(part) for part in split_body("x" * 2000)]
    [1016, 984]
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BodyRefused(
            f"the text holds a lone surrogate at character {error.start}, which UTF-8 cannot carry",
            field="Body",
        ) from None
    parts: List[str] = []
    start = 0
    while True:
        window = text[start : start + MAX_BODY + 1]
        if start + len(window) == len(text) and len(window.encode()) <= _limit(window):
            return [*parts, window]
        size = _cut(window)
        parts.append(window[:size])
        start += size


def _limit(text: str) -> int:
    # What Body carries unchanged has more room than Base64Body; see body_line.
    return MAX_BASE64_BODY if text[:1] in _BLANKS or "\n" in text or "\r" in text else MAX_BODY


def _cut(window: str) -> int:
    """How many characters of the window make the next part; the window has too many."""
    end = _prefix(window, MAX_BODY)
    if _limit(window[:end]) < MAX_BODY:
        end = _prefix(window, MAX_BASE64_BODY)
        if _limit(window[:end]) == MAX_BODY:
            # The line end that made it Base64Body is farther on: up to there, Body carries it.
            end = min(window.find(char) for char in "\r\n" if char in window)
    half = end // 2
    for found in (window.rfind("\n", half, end), window.rfind(" ", half, end)):
        if found >= 0 and _is_boundary(window, found + 1):
            return found + 1
    while end > half and not _is_boundary(window, end):
        end -= 1
    return end if end > half else _prefix(window, _limit(window[: _prefix(window, MAX_BODY)]))


def _prefix(window: str, limit: int) -> int:
    """Most characters of the window that have at most ``limit`` bytes."""
    data = window.encode()
    return len(data[:limit].decode("utf-8", "ignore")) if len(data) > limit else len(window)


def _is_boundary(text: str, index: int) -> bool:
    """Whether a reader sees one character end and another begin in front of ``index``."""
    from unicodedata import category, combining

    before, after = text[index - 1], text[index]
    if before in "\r\n":
        return before == "\n" or after != "\n"
    if _JOINER in (before, after):
        return False
    if combining(after) or category(after) in ("Mn", "Me", "Mc"):  # accents, variation selectors
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False  # a skin tone; the tags of a subdivision's flag
    if _is_flag_half(before) and _is_flag_half(after):
        run = 1
        while run < index and _is_flag_half(text[index - 1 - run]):
            run += 1
        return run % 2 == 0
    return not (_is_hangul_part(before) and _is_hangul_part(after, initial=False))


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _is_hangul_part(char: str, *, initial: bool = True) -> bool:
    # Conjoining jamo; a syllable block takes a vowel or a final consonant, too.
    if initial:
        return "\u1100" <= char <= "\u11ff" or "\uac00" <= char <= "\ud7a3"
    return "\u1160" <= char <= "\u11ff"
