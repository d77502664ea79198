"""The ``Variable`` header: writing it so that the server reads just one pair, and reading it.

Originate and other actions have the same header.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Tuple

from .._text import WHITESPACE, action_lines, to_text
from ..exceptions import LineTooLong, quote
from ..headers import Pair
from ..limits import MAX_ACTION_LINE, MAX_VARIABLES_IN_HEADER

# Items are split at commas outside quotes, round and square brackets. Quotes are removed, and
# brackets count inside quotes too. So quoting protects nothing, but a backslash before each of
# these characters does (560 random values of every byte but CR, LF and NUL arrived exactly, on
# 11.25, 16.28 and 22.10).
_SPECIAL = re.compile(r'[\\",()\[\]]')
_ESCAPES = {ord(character): f"\\{character}" for character in '\\",()[]'}

#: The tokens of a ``Variable`` header: a backslash and the byte that it makes literal, a run of
#: plain bytes, or a special byte.
_TOKEN = re.compile(rb'\\.?|[^\\",()\[\]]+|.', re.DOTALL)

#: Bytes of items, with the commas between them, that fit into one header.
_ROOM = MAX_ACTION_LINE - len("Variable: ")


def escape_variable(value: str) -> str:
    """Escape a value for use after ``Variable: name=``.

    :param value: any text without CR, LF and NUL (str).

    >>> print(escape_variable('say "hi", (now)'))
    say \\"hi\\"\\, \\(now\\)
    """
    if not _SPECIAL.search(value):
        return value  # the usual case, and faster than a substitution without a match
    return str.translate(value, _ESCAPES)


def variable_headers(variables: Iterable[Pair], limit: int) -> List[Pair]:
    """Return the headers, as names and values, that set these variables in their order.

    Each variable has its own header. If that makes more than ``limit`` headers, several variables
    share one; the result can have more than ``limit`` even then.

    :raises LineTooLong: for a variable that does not fit into one header, with its name.
    """
    headers = []
    for name, value in variables:
        item = escape_variable(f"{name}={value}")
        if (len(item) if item.isascii() else len(item.encode())) > _ROOM:
            size = len(f"Variable: {item}".encode())
            raise LineTooLong(
                f"the line of variable {quote(name)} is {size} bytes after escaping; the limit is "
                f"{MAX_ACTION_LINE}",
                field=name,
                limit=MAX_ACTION_LINE,
                actual=size,
            )
        headers.append(("Variable", item))
    if len(headers) > limit:
        return [("Variable", items) for items in _packed([item for _, item in headers])]
    return headers


def _packed(items: List[str]) -> List[str]:
    """Join the items with commas, into as few headers as their order allows."""
    headers: List[List[str]] = [[]]
    size = 0  # of the last header, with a comma after each item
    for item in items:
        needed = len(f"{item},".encode())
        if size + needed > _ROOM + len(",") or len(headers[-1]) == MAX_VARIABLES_IN_HEADER:
            headers.append([])
            size = 0
        headers[-1].append(item)
        size += needed
    return [",".join(header) for header in headers]


def effective_variables(wire: bytes, *, first_wins: bool = False) -> Tuple[Pair, ...]:
    """Return the variables that a server keeps of an action: names and values (str), in order.

    They are set one after the other. For a repeated name, in any case, the later value counts under
    the earlier spelling; an empty value removes the variable.

    :param wire: the action's bytes, with its blank line.
    :param first_wins: whether they are set from the last to the first, as Asterisk 11 does (the
        first value counts on 11.25, the last on 16.28 and 22.10).
    """
    pairs: List[Tuple[bytes, bytes]] = []
    for line in action_lines(wire):
        if line[:9].lower() == b"variable:":
            pairs += parse_variables(line[9:])
    step = -1 if first_wins else 1
    effective: Dict[bytes, Pair] = {}
    for name, value in pairs[::step]:
        if value:
            spelling = effective.get(name.lower(), (to_text(name),))[0]
            effective[name.lower()] = (spelling, to_text(value))
        else:
            effective.pop(name.lower(), None)
    return tuple(effective.values())[::step]


def parse_variables(value: bytes) -> List[Tuple[bytes, bytes]]:
    """Parse one ``Variable`` header as the server does.

    :param value: the text after ``Variable:`` (bytes).
    :return: name and value (bytes) of each item that has a name and a ``=``, in order. The 64th
        item is the rest of the line, unparsed.
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
    round_depth = square_depth = 0
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token == b"," and not (quoted or round_depth or square_depth):
            items.append(bytes(item))
            item.clear()
            if len(items) == MAX_VARIABLES_IN_HEADER:
                return [*items, text[found.end() :]]
        elif token == b'"':
            quoted = not quoted
        elif token.startswith(b"\\"):
            item += token[1:]  # empty if the backslash ends the line
        else:
            if token == b"(":
                round_depth += 1
            elif token == b")":
                round_depth = max(0, round_depth - 1)
            elif token == b"[":
                square_depth += 1
            elif token == b"]":
                square_depth = max(0, square_depth - 1)
            item += token
    return [*items, bytes(item)]
