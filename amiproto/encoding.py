"""Pairs to bytes, strictly: the one place that knows a line's form and decides what may leave."""

from __future__ import annotations

from .errors import HeaderRefused, LineTooLong, TooManyLines
from .headers import split_line
from .limits import MAX_ACTION_ID, MAX_ACTION_LINE, MAX_ACTION_LINES
from .text import is_encodable, to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from .headers import Pair


def encode_stanza(pairs: List[Pair]) -> bytes:
    """The lines and the blank line, or a refusal that names the header.

    :param pairs: name and value of each line, plain str.
    :raises HeaderRefused: for CR, LF or NUL anywhere, a name that would not be read back as that
        name, or a surrogate that stands for no byte.
    """
    for name, value in pairs:
        if not name or (":" in name and split_line(f"{name}: {value}")[0] != name):
            raise HeaderRefused(
                f"the header name {name!r} is empty or has a colon, which would end it; rename it",
                field=name,
            )
    text = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    count = len(pairs)
    # Three searches of the whole text cost less than one of each header.
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise _control_refused(pairs)
    try:
        return to_bytes(text) + b"\r\n"
    except UnicodeEncodeError:
        pass  # not raised from here: its context would hold the text, and a secret with it
    raise _surrogate_refused(pairs)


def encode_action(pairs: List[Pair]) -> bytes:
    """An action's bytes, within what the server reads.

    :raises HeaderRefused: as :func:`encode_stanza` does.
    :raises LineTooLong: for a line over 1022 bytes.
    :raises TooManyLines: for more than 128 lines.
    """
    wire = encode_stanza(pairs)
    if len(pairs) > MAX_ACTION_LINES:
        raise TooManyLines(
            f"the action has {len(pairs)} lines and the server keeps {MAX_ACTION_LINES}; "
            "send fewer headers",
            limit=MAX_ACTION_LINES,
            actual=len(pairs),
        )
    if len(wire) > MAX_ACTION_LINE:
        _check_lines(wire)
    return wire


def _check_lines(wire: bytes) -> None:
    """Refuse the first line that is over the server's limit."""
    for line in wire.split(b"\r\n"):
        if len(line) > MAX_ACTION_LINE:
            name = split_line(line.decode("utf-8", "replace"))[0]
            raise LineTooLong(
                f"the {name} line has {len(line)} bytes and the server reads at most "
                f"{MAX_ACTION_LINE}; shorten it",
                field=name,
                limit=MAX_ACTION_LINE,
                actual=len(line),
            )


def check_action_id(action_id: str) -> None:
    """Refuse an ActionID that the server would not echo as it is.

    :param action_id: plain str.
    :raises HeaderRefused: for one that is empty or has a leading byte up to 0x20.
    :raises LineTooLong: for one over 67 bytes.
    """
    if not action_id or action_id[0] <= " ":
        raise HeaderRefused(
            "the ActionID is empty or starts with a blank, which the server strips, so that the "
            "answer would not be known by it; give another",
            field="ActionID",
        )
    # Surrogates that no byte stands for are refused when the line is written.
    size = len(to_bytes(action_id)) if is_encodable(action_id) else 0
    if size > MAX_ACTION_ID:
        raise LineTooLong(
            f"the ActionID has {size} bytes and servers echo at most {MAX_ACTION_ID}; shorten it",
            field="ActionID",
            limit=MAX_ACTION_ID,
            actual=size,
        )


def _control_refused(pairs: List[Pair]) -> HeaderRefused:
    name, called = next(
        (name, called)
        for name, value in pairs
        for character, called in (("\r", "CR"), ("\n", "LF"), ("\0", "NUL"))
        if character in name or character in value
    )
    return HeaderRefused(
        f"the header {name!r} holds a {called}, which would end the line; remove it", field=name
    )


def _surrogate_refused(pairs: List[Pair]) -> HeaderRefused:
    name = next(name for name, value in pairs if not is_encodable(name + value))
    return HeaderRefused(
        f"the header {name!r} holds a lone surrogate, which no byte stands for; remove it",
        field=name,
    )
