"""The ``Variable`` header: how a pair is written so that the server reads just that pair.

Originate, Setvar's kin and others take the same header.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Tuple

from .._text import WHITESPACE, action_lines, to_text
from ..exceptions import LineTooLong
from ..headers import Pair
from ..limits import MAX_ACTION_LINE, MAX_VARIABLES_IN_HEADER

# Items are split at commas outside quotes, round and square brackets, quotes are removed, and
# brackets count inside quotes too: so that quoting protects nothing, and a backslash before each
# of these does (560 random values of every byte but CR, LF and NUL arrived exactly, on 11.25,
# 16.28 and 22.10).
_SPECIAL = re.compile(r'[\\",()\[\]]')

#: What the server reads a ``Variable`` header by: a backslash and the byte it makes literal, bytes
#: that mean nothing, or one that does.
_PIECE = re.compile(rb'\\.?|[^\\",()\[\]]+|.', re.DOTALL)

#: Bytes of items, commas between them included, that the line of one header holds.
_ROOM = MAX_ACTION_LINE - len("Variable: ")


def escape_variable(value: str) -> str:
    """The value as it has to stand after ``Variable: name=`` to arrive as it is.

    :param value: any text without CR, LF and NUL (str).

    >>> print(escape_variable('say "hi", (now)'))
    say \\"hi\\"\\, \\(now\\)
    """
    if _SPECIAL.search(value) is None:
        return value  # as nearly all are
    return _SPECIAL.sub(r"\\\g<0>", value)


def variable_headers(variables: Iterable[Pair], most: int) -> List[Pair]:
    """The headers, name and value, that set these variables, in their order.

    Each has one of its own, or, where that would make more than ``most`` headers, as many in one
    as fit; if that is not enough, there are more than ``most`` all the same.

    :raises LineTooLong: for one that alone is too long for a line, with its name.
    """
    items = [_item(name, value) for name, value in variables]
    if len(items) > most:
        items = _packed(items)
    return [("Variable", item) for item in items]


def _item(name: str, value: str) -> str:
    item = escape_variable(f"{name}={value}")
    if len(item.encode()) > _ROOM:
        size = len(value.encode())
        room = _ROOM - len(escape_variable(f"{name}=").encode())
        escaped = len(escape_variable(value).encode())
        marks = f', and {escaped} with a backslash before each \\ " , ( ) [ ]' * (escaped > size)
        raise LineTooLong(
            f"the value of the variable {name!r} has {size} bytes{marks}, and its line holds "
            f"{max(room, 0)}; shorten it",
            field=name,
            limit=MAX_ACTION_LINE,
            actual=len("Variable: ") + len(item.encode()),
        )
    return item


def _packed(items: List[str]) -> List[str]:
    """The items with commas between them, in as few lines as their order allows."""
    lines: List[List[str]] = [[]]
    size = 0  # of the last line, with a comma behind each item
    for item in items:
        needed = len(f"{item},".encode())
        if size + needed > _ROOM + len(",") or len(lines[-1]) == MAX_VARIABLES_IN_HEADER:
            lines.append([])
            size = 0
        lines[-1].append(item)
        size += needed
    return [",".join(line) for line in lines]


def effective_variables(wire: bytes, *, first_counts: bool = False) -> Tuple[Pair, ...]:
    """The variables that a server keeps of an action: pairs of name and value (str), in order.

    They are set one after the other. Of a name that comes again, in any case, the later value
    counts under the earlier spelling, and an empty one takes the variable away.

    :param wire: the action's bytes, its blank line included.
    :param first_counts: whether they are set from the last to the first, as Asterisk 11 does (the
        first value counts on 11.25, the last on 16.28 and 22.10).
    """
    pairs: List[Tuple[bytes, bytes]] = []
    for line in action_lines(wire):
        if line[:9].lower() == b"variable:":
            pairs += parse_variables(line[9:])
    step = -1 if first_counts else 1
    kept: Dict[bytes, Pair] = {}
    for name, value in pairs[::step]:
        if value:
            spelling = kept.get(name.lower(), (to_text(name),))[0]
            kept[name.lower()] = (spelling, to_text(value))
        else:
            kept.pop(name.lower(), None)
    return tuple(kept.values())[::step]


def parse_variables(value: bytes) -> List[Tuple[bytes, bytes]]:
    """The pairs that the server reads out of one ``Variable`` header.

    :param value: what stands after ``Variable:`` (bytes).
    :return: (name, value) of each item that has a name and a ``=``, in order. An item beyond the
        63rd takes the rest of the line, unread.
    """
    pairs = []
    for item in _items(value.lstrip(WHITESPACE)):
        name, equals, text = item.partition(b"=")
        if equals and name:
            pairs.append((name, text))
    return pairs


def _items(text: bytes) -> List[bytes]:
    items: List[bytes] = []
    item = bytearray()
    quoted = False
    rounds = squares = 0
    for found in _PIECE.finditer(text):
        piece = found.group()
        if piece == b"," and not (quoted or rounds or squares):
            items.append(bytes(item))
            item.clear()
            if len(items) == MAX_VARIABLES_IN_HEADER:
                return [*items, text[found.end() :]]
        elif piece == b'"':
            quoted = not quoted
        elif piece.startswith(b"\\"):
            item += piece[1:]  # nothing, where the backslash ends the line
        else:
            if piece == b"(":
                rounds += 1
            elif piece == b")":
                rounds = max(0, rounds - 1)
            elif piece == b"[":
                squares += 1
            elif piece == b"]":
                squares = max(0, squares - 1)
            item += piece
    return [*items, bytes(item)]
