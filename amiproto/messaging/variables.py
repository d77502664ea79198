"""The ``Variable`` header: how a pair is written so that the server reads just that pair.

Originate, Setvar's kin and others take the same header.
"""

from __future__ import annotations

import re

from ..limits import MAX_VARIABLES_IN_HEADER
from ..text import BLANKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from ..headers import Pair

# Items are split at commas outside quotes, round and square brackets, quotes are removed, and
# brackets count inside quotes too: so that quoting protects nothing, and a backslash before each
# of these does (560 random values of every byte but CR, LF and NUL arrived exactly, on 11.25,
# 16.28 and 22.10).
_SPECIAL = re.compile(r'[\\",()\[\]]')


def escape_variable(value: str) -> str:
    """The value as it has to stand after ``Variable: name=`` to arrive as it is.

    :param value: any text without CR, LF and NUL (str).

    >>> print(escape_variable('say "hi", (now)'))
    say \\"hi\\"\\, \\(now\\)
    """
    if _SPECIAL.search(value) is None:
        return value  # as nearly all are
    return _SPECIAL.sub(r"\\\g<0>", value)


def variable_header(name: str, value: str) -> Pair:
    """The header, name and value, that sets one variable."""
    return "Variable", escape_variable(f"{name}={value}")


def parse_variables(value: bytes) -> List[Tuple[bytes, bytes]]:
    """The pairs that the server reads out of one ``Variable`` header.

    :param value: what stands after ``Variable:`` (bytes).
    :return: (name, value) of each item that has a name and a ``=``, in order. An item beyond the
        63rd takes the rest of the line, unread.
    """
    pairs = []
    for item in _items(value.lstrip(BLANKS)):
        name, equals, text = item.partition(b"=")
        if equals and name:
            pairs.append((name, text))
    return pairs


def _items(text: bytes) -> List[bytes]:
    items: List[bytes] = []
    position = 0
    end = len(text)
    quoted = False
    rounds = squares = 0
    while position < end and len(items) < MAX_VARIABLES_IN_HEADER:
        item = bytearray()
        while position < end:
            char = text[position : position + 1]
            position += 1
            if char == b"\\":
                # At the very end of the line there is nothing to take literally.
                item += text[position : position + 1]
                position += 1
                continue
            if char == b'"':
                quoted = not quoted
                continue
            if char == b"," and not (quoted or rounds or squares):
                break
            if char == b"(":
                rounds += 1
            elif char == b")":
                rounds = max(0, rounds - 1)
            elif char == b"[":
                squares += 1
            elif char == b"]":
                squares = max(0, squares - 1)
            item += char
        items.append(bytes(item))
    if position < end:
        items.append(text[position:])
    return items
