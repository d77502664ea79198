"""Lines as Asterisk itself reads them: apart, as messages, framing and MessageSend all need it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


def lf_lines(wire: bytes) -> List[bytes]:
    """The lines of a stanza in which each LF ends one; a CR before the LF goes with it."""
    lines = wire.split(b"\n")[:-2]  # the last line is the blank one
    return [line[:-1] if line.endswith(b"\r") else line for line in lines]


def action_lines(wire: bytes) -> List[bytes]:
    """The lines of a client's stanza as the server keeps them.

    Each is a C string there, so that a NUL ends it, and a line that starts with NUL counts as the
    blank one (all of 11.25, 16.28, 22.10).
    """
    lines = lf_lines(wire)
    return [line.partition(b"\0")[0] for line in lines] if b"\0" in wire else lines


def value_as_read(lines: List[bytes], name: bytes, *, skip_empty: bool = False) -> bytes:
    """The value the server takes for a header; empty where there is none.

    Names match in any case, with the colon directly behind; leading bytes up to 0x20 of the value
    are stripped and trailing ones kept; the first of several lines wins, even when it is empty.
    The server asks for ``Action`` alone with ``skip_empty``: there the first non-empty one wins
    (all of 11.25, 16.28, 22.10).
    """
    start = name.lower() + b":"
    for line in lines:
        if line[: len(start)].lower() == start:
            value = line[len(start) :].lstrip(BLANKS)
            if value or not skip_empty:
                return value
    return b""


#: What the server strips from the front of a value: every byte up to 0x20.
BLANKS = bytes(range(0x21))
