"""The text of a message: ``Body`` or ``Base64Body``, how much fits, and cutting what does not."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from ..errors import BodyRefused, BodyTooLong
from ..limits import MAX_ACTION_LINE, MAX_BASE64_BODY, MAX_BODY
from ..text import plain_str, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from ..headers import Pair

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64_DIGITS = bytes(byte if byte in _BASE64 else _BASE64[-1] for byte in range(256))

#: Characters of base64 that the line of ``Base64Body`` holds.
_BASE64_ROOM = MAX_ACTION_LINE - len("Base64Body: ")

_JOINER = "\u200d"


def is_plain(body: bytes) -> bool:
    """Whether ``Body`` carries a text unchanged, and not only ``Base64Body``.

    Not where a line ends in it, and not where the server would strip a blank from its front.
    """
    return not body or (body[0] > 0x20 and b"\n" not in body and b"\r" not in body)


def max_size(body: bytes) -> int:
    """How many bytes a text of this kind may have."""
    return MAX_BODY if is_plain(body) else MAX_BASE64_BODY


def body_header(body: bytes) -> Pair:
    """The name and value of the header that carries a text unchanged.

    :raises BodyTooLong: when neither ``Body`` nor ``Base64Body`` does.
    """
    limit = max_size(body)
    if len(body) > limit:
        why = "" if is_plain(body) else " with line breaks or with a blank in front"
        raise BodyTooLong(
            f"the text has {len(body)} bytes and AMI carries at most {limit} of a text{why}; "
            "shorten it, or send the parts that split_body(text) gives",
            field="Body",
            limit=limit,
            actual=len(body),
        )
    if is_plain(body):
        return "Body", to_text(body)
    # What is cut off here is padding, which decoding does without (all of 11.25, 16.28, 22.10).
    return "Base64Body", to_text(b2a_base64(body, newline=False)[:_BASE64_ROOM])


def decode_base64(data: bytes) -> bytes:
    """Base64 as Asterisk decodes it, without fail (16.28, 22.10).

    It ends at the first ``=``; a character that is none of base64 counts as the last of them;
    bits that fill no byte are dropped; what is decoded ends at a NUL.

    :param data: the value of a ``Base64Body`` header (bytes).
    """
    digits = data.partition(b"=")[0].translate(_BASE64_DIGITS)
    size = len(digits) * 6 // 8
    return a2b_base64(digits + b"A" * (-len(digits) % 4))[:size].partition(b"\0")[0]


def split_body(text: str) -> List[str]:
    """Cut a text into parts that each fit one MessageSend, and that joined give the text.

    A part is cut after a line end where there is one in its second half, else after a blank,
    else between two characters as a reader sees them (base and accents, emoji sequences, flags:
    as far as the standard library's Unicode data tells), and never inside a character.

    :param text: any text UTF-8 can carry (str).
    :return: the parts (list of str); the text alone, even an empty one, where it fits.
    :raises BodyRefused: for a lone surrogate.

    >>> [len(part) for part in split_body("x" * 2000)]
    [1016, 984]
    """
    text = plain_str(text, "text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BodyRefused(
            f"the text holds a lone surrogate at character {error.start}, which UTF-8 cannot "
            "carry; remove it",
            field="Body",
        ) from None
    parts: List[str] = []
    start = 0
    while True:
        window = text[start : start + MAX_BODY + 1]
        if start + len(window) == len(text) and _fits(window):
            return [*parts, window]
        size = _cut(window)
        parts.append(window[:size])
        start += size


def _cut(window: str) -> int:
    """How many characters of the window make the next part; the window has too many."""
    end = _prefix(window, MAX_BODY)
    if not is_plain(window[:end].encode()):
        end = _prefix(window, MAX_BASE64_BODY)
        if is_plain(window[:end].encode()):
            # The line end that made it Base64Body is farther on: up to there, Body carries it.
            end = min(window.find(char) for char in "\r\n" if char in window)
    half = end // 2
    for found in (window.rfind("\n", half, end), window.rfind(" ", half, end)):
        if found != -1 and _is_boundary(window, found + 1):
            return found + 1
    for place in range(end, half, -1):
        if _is_boundary(window, place):
            return place
    return _prefix(window, max_size(window[: _prefix(window, MAX_BODY)].encode()))


def _fits(text: str) -> bool:
    body = text.encode()
    return len(body) <= max_size(body)


def _prefix(window: str, limit: int) -> int:
    """Most characters of the window that have at most ``limit`` bytes."""
    return len(window.encode()[:limit].decode("utf-8", "ignore"))


def _is_boundary(text: str, index: int) -> bool:
    """Whether a reader sees one character end and another begin before ``index``."""
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
