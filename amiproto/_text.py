"""Text to bytes and back without loss, and the lines of an action as the server reads them.

These stand alone because every other module needs them.
"""

from __future__ import annotations

from typing import List, Union

#: What the server strips from the front of a value: every byte up to 0x20 (11.25, 16.28, 22.10).
WHITESPACE = bytes(range(0x21))


def to_text(data: bytes) -> str:
    """Decode UTF-8; bytes that are none become lone surrogates, as PEP 383 has it.

    >>> to_text(b"caf\\xc3\\xa9 \\xff")
    'café \\udcff'
    """
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Encode what :func:`to_text` gave, or any text, to the same bytes.

    :raises UnicodeEncodeError: for a surrogate that stands for no byte.
    """
    return text.encode("utf-8", "surrogateescape")


def is_encodable(text: str) -> bool:
    """Whether :func:`to_bytes` takes the text."""
    try:
        to_bytes(text)
    except UnicodeEncodeError:
        return False
    return True


def to_exact_str(value: str, argument: str) -> str:
    """The text of an argument as a str and nothing else.

    A subclass of str can give another text when it is formatted, compared or encoded than the one
    it holds: an Enum of str does in Python before 3.12. What is checked has to be what is
    written, so every argument is made plain before anything else is done with it.

    :param argument: what the caller calls it, for the error.
    :raises TypeError: when it is no str.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} is a str, not {type(value).__name__}")
    return str.__str__(value)


def to_exact_bytes(value: Union[str, bytes], argument: str) -> bytes:
    """The bytes of an argument as bytes and nothing else; a str gives its UTF-8.

    :param argument: what the caller calls it, for the error.
    :raises TypeError: when it is neither a str nor bytes, bytearray or memoryview.
    :raises UnicodeEncodeError: for a lone surrogate.
    """
    if isinstance(value, str):
        return str.__str__(value).encode()
    if isinstance(value, bytes):
        return bytes.__getitem__(value, slice(None))
    if isinstance(value, (bytearray, memoryview)):
        return bytes(memoryview(value))
    raise TypeError(f"{argument} is a str or bytes, not {type(value).__name__}")


def split_lines(wire: bytes) -> List[bytes]:
    """The lines of a stanza in which each LF ends one; a CR before the LF goes with it."""
    lines = wire.split(b"\n")[:-2]  # the last line is the blank one
    return [line[:-1] if line.endswith(b"\r") else line for line in lines]


def action_lines(wire: bytes) -> List[bytes]:
    """The lines of a client's stanza as the server keeps them.

    Each is a C string there, so that a NUL ends it, and a line that starts with NUL counts as the
    blank one (all of 11.25, 16.28, 22.10).
    """
    return [line.partition(b"\0")[0] for line in split_lines(wire)]


def get_header(wire: bytes, name: bytes, *, skip_empty: bool = False) -> bytes:
    """The value the server takes for a header of an action; empty where there is none.

    Names match in any case, with the colon directly after; leading bytes up to 0x20 of the value
    are stripped and trailing ones kept; the first of several lines wins, even when it is empty.
    The server asks for ``Action`` alone with ``skip_empty``: there the first non-empty one wins
    (all of 11.25, 16.28, 22.10). Lines are those of :func:`action_lines`.

    :param wire: the action's bytes, its blank line included.
    """
    # Looked for in the bytes as they stand, for most actions are asked for two headers of ten.
    wire = b"\n" + wire
    lowered = wire.lower()
    wanted = b"\n" + name.lower() + b":"
    start = lowered.find(wanted)
    while start >= 0:
        start += len(wanted)
        end = wire.find(b"\n", start)
        line = wire[start : end - 1 if wire[end - 1] == 0x0D else end]
        value = line.partition(b"\0")[0].lstrip(WHITESPACE)
        if value or not skip_empty:
            return value
        start = lowered.find(wanted, end)
    return b""
