"""Lossless conversion between text and bytes, and the lines of an action as Asterisk reads them."""

from __future__ import annotations

from typing import Iterator, List, Tuple

#: The bytes that the server strips from the start of a value (11.25, 16.28, 22.10).
WHITESPACE = bytes(range(0x21))


def to_text(data: bytes) -> str:
    """Decode UTF-8. Invalid bytes become lone surrogates (PEP 383).

    >>> to_text(b"caf\\xc3\\xa9 \\xff")
    'café \\udcff'
    """
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Encode text; the inverse of :func:`to_text`.

    :raises UnicodeEncodeError: for a surrogate that does not represent a byte.
    """
    return text.encode("utf-8", "surrogateescape")


def is_encodable(text: str) -> bool:
    """Return whether :func:`to_bytes` accepts the text."""
    try:
        to_bytes(text)
    except UnicodeEncodeError:
        return False
    return True


def to_exact_str(value: str, argument: str) -> str:
    """Return the value of an argument as a plain str.

    A subclass of str can have another value when it is formatted, compared or encoded: an Enum of
    str does before Python 3.12. Arguments are converted first, so that the value which is checked
    is also the value which is sent.

    :param argument: the name of the argument, for the error.
    :raises TypeError: unless the value is a str.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    return str.__str__(value)


def to_exact_bytes(value: bytes, argument: str) -> bytes:
    """Return the value of an argument, bytes, bytearray or memoryview, as plain bytes.

    :param argument: the name of the argument, for the error; its callers also accept a str.
    :raises TypeError: for any other value.
    """
    if isinstance(value, bytes):
        return bytes.__getitem__(value, slice(None))
    if isinstance(value, (bytearray, memoryview)):
        try:
            return bytes(memoryview(value))
        except ValueError:
            raise TypeError(f"{argument} is a released memoryview") from None
    raise TypeError(f"{argument} must be a str or bytes, not {type(value).__name__}")


def action_lines(wire: bytes) -> List[bytes]:
    """Split an action into lines as the server stores them, without the blank line.

    Each LF ends a line, and a CR before it is dropped. The server stores each line as a C string. A
    NUL therefore ends the line, and a line that starts with NUL counts as the blank line
    (11.25, 16.28, 22.10).
    """
    return [_stored(line) for line in wire.split(b"\n")[:-2]]  # the last line is the blank one


def _stored(line: bytes) -> bytes:
    return (line[:-1] if line.endswith(b"\r") else line).partition(b"\0")[0]


def find_lines(wire: bytes, name: bytes, line_end: bytes = b"\n") -> Iterator[Tuple[int, int]]:
    """Yield the start and the end, behind the line end, of each header line of a name.

    Names are compared without case, and the colon must follow directly.
    """
    # Most callers need two headers of ten, so a search is faster than splitting all lines.
    lowered = (line_end + wire).lower()
    prefix = line_end + name.lower() + b":"
    start = lowered.find(prefix)
    while start >= 0:
        end = lowered.find(line_end, start + len(prefix))
        yield start, end
        start = lowered.find(prefix, end)


def get_header(wire: bytes, name: bytes, *, skip_empty: bool = False) -> bytes:
    """Return the value of an action's header as the server reads it, or ``b""``.

    Leading bytes up to 0x20 are stripped from the value, trailing ones are not. The first of
    several lines is used, even if it is empty. For ``Action`` alone, the server uses the first line
    that is not empty (11.25, 16.28, 22.10). Lines are those of :func:`action_lines`.

    :param wire: the bytes of the action, with its blank line.
    :param skip_empty: whether to skip empty values.
    """
    for start, end in find_lines(wire, name):
        value = _stored(wire[start + len(name) + 1 : end - 1]).lstrip(WHITESPACE)
        if value or not skip_empty:
            return value
    return b""
