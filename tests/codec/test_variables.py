"""The Variable header: an escaped value is read back exactly."""

from __future__ import annotations

import re
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import escape_variable, parse_variables
from amiproto._text import to_bytes
from amiproto.messaging.variables import effective_variables, variable_headers
from tests.strategies import line_text

Pairs = List[Tuple[bytes, bytes]]

_special = st.text('\\",()[]$%;|= ab', max_size=30)
values = st.one_of(_special, line_text)
names = values.map(lambda text: "N" + text.replace("=", ""))


@given(st.lists(st.tuples(names, values), max_size=63))
def test_up_to_63_escaped_pairs_are_read_exactly(pairs: List[Tuple[str, str]]) -> None:
    header = ",".join(f"{escape_variable(n)}={escape_variable(v)}" for n, v in pairs)
    assert parse_variables(to_bytes(header)) == [(to_bytes(n), to_bytes(v)) for n, v in pairs]


@given(st.binary())
def test_any_bytes_are_read(data: bytes) -> None:
    for name, value in parse_variables(data):
        assert name and b"=" not in name
        assert len(name) + len(value) < len(data)


def test_escaped_characters() -> None:
    everything = "".join(map(chr, range(1, 256)))
    escaped = escape_variable(everything)
    assert len(escaped) - len(everything) == len('\\",()[]')
    assert all(f"\\{char}" in escaped for char in '\\",()[]')


@pytest.mark.parametrize(
    "header, pairs",
    [
        (b"", []), (b"a=b", [(b"a", b"b")]), (b"a=b,c=d", [(b"a", b"b"), (b"c", b"d")]),
        (b"a=b,,c=d,", [(b"a", b"b"), (b"c", b"d")]), (b"a=b=c", [(b"a", b"b=c")]),
        (b"a=", [(b"a", b"")]), (b"=b,c", []), (b" \t\ra= b ", [(b"a", b" b ")]),
        (b"\x01 \x1fa=b", [(b"a", b"b")]), (b'a="b,c"', [(b"a", b"b,c")]),
        (b'a=b"c', [(b"a", b"bc")]), (b"a=(b,c),d=[e,f]", [(b"a", b"(b,c)"), (b"d", b"[e,f]")]),
        (b"a=),b=],c=d", [(b"a", b")"), (b"b", b"]"), (b"c", b"d")]),
        (b"a=((b),c),d=e", [(b"a", b"((b),c)"), (b"d", b"e")]),
        (b"a=[[b],[c],d],e=f", [(b"a", b"[[b],[c],d]"), (b"e", b"f")]),
        (b"a=((),b=c", [(b"a", b"((),b=c")]), (b"a=([),],b=c", [(b"a", b"([),]"), (b"b", b"c")]),
        (b'a="(",b=c', [(b"a", b"(,b=c")]),  # brackets count inside quotes too
        (b"a=\\,\\\\,b\\=c=d", [(b"a", b",\\"), (b"b", b"c=d")]), (b"a=b\\", [(b"a", b"b")]),
        (b"a=$b%c;d|e", [(b"a", b"$b%c;d|e")]),
    ],
)  # fmt: skip
def test_grammar(header: bytes, pairs: Pairs) -> None:
    assert parse_variables(header) == pairs


def is_open(item: str) -> bool:
    """Return True if a quote or bracket is open at the end; extra closing brackets are ignored."""
    depths = []
    for opening, closing in ("()", "[]"):
        depth = 0
        for char in item:
            depth = max(0, depth + (char == opening) - (char == closing))
        depths.append(depth)
    return item.count('"') % 2 == 1 or any(depths)


def read_slowly(header: str) -> List[Tuple[str, str]]:
    """Return the pairs of a header of up to 63 items, read by parts instead of bytes."""
    # A character after a backslash is literal: it is shifted until everything is split.
    header = re.sub(r"\\(.?)", lambda match: chr(ord(match[1]) + 1000) if match[1] else "", header)
    first, *others = header.split(",")
    items = [first]
    for part in others:
        if is_open(items[-1]):
            items[-1] += f",{part}"
        else:
            items.append(part)
    literal = [
        "".join([chr(ord(char) % 1000) for char in item if char != '"']).partition("=")
        for item in items
    ]
    return [(name, value) for name, equals, value in literal if name and equals]


@given(st.text('\\",()[]=ab', max_size=60))
def test_nested_quotes_and_brackets(header: str) -> None:
    expected = [(name.encode(), value.encode()) for name, value in read_slowly(header)]
    assert parse_variables(header.encode()) == expected


def test_the_64th_item_is_the_rest_of_the_line() -> None:
    header = ",".join(f"v{number}=x" for number in range(63))
    assert len(parse_variables(header.encode())) == 63
    pairs = parse_variables(f'{header},a="\\,b",c=d'.encode())
    assert len(pairs) == 64 and pairs[63] == (b"a", b'"\\,b",c=d')


def test_first_or_last_value_counts() -> None:
    wire = b"Action: x\r\nVariable: A=1,b=2\r\nvariable:a=3\r\nVARIABLE: B=,C=4\r\n\r\n"
    assert effective_variables(wire) == (("A", "3"), ("C", "4"))
    assert effective_variables(wire, first_wins=True) == (("b", "2"), ("a", "1"), ("C", "4"))


# ---- headers


def values_of(headers: List[Tuple[str, str]]) -> List[str]:
    assert {name for name, _ in headers} <= {"Variable"}
    return [value for _, value in headers]


def item(number: int, size: int) -> Tuple[str, str]:
    """Return a variable that needs this many bytes of a line."""
    return f"{number:03}", "v" * (size - len("000="))


def test_each_variable_has_its_own_header_up_to_the_limit() -> None:
    pairs = [(f"X-{number}", "a,b") for number in range(64)]
    alone = [f"X-{number}=a\\,b" for number in range(64)]
    assert values_of(variable_headers(pairs, 64)) == alone
    assert values_of(variable_headers(pairs, 63)) == [",".join(alone[:63]), alone[63]]
    assert variable_headers([], 0) == []


@pytest.mark.parametrize(
    "sizes, lines",
    [
        ([505, 506], [2]),  # 1012 with the comma, which fits after "Variable: "
        ([505, 507], [1, 1]), ([1012, 4], [1, 1]), ([4, 1007], [2]), ([4, 1008], [1, 1]),
        ([336, 337, 337], [3]), ([336, 337, 338], [2, 1]),
        ([1012, 505, 506, 505, 506], [1, 2, 2]), ([1012, 505, 507, 504, 1012], [1, 1, 2, 1]),
        ([15] * 63, [63]), ([15] * 64, [63, 1]), ([15] * 127, [63, 63, 1]),
        ([1012] + [15] * 64, [1, 63, 1]), ([16] * 60, [59, 1]),
    ],
)  # fmt: skip
def test_lines_are_filled(sizes: List[int], lines: List[int]) -> None:
    pairs = [item(number, size) for number, size in enumerate(sizes)]
    values = values_of(variable_headers(pairs, 0))
    assert [value.count("=") for value in values] == lines
    assert ",".join(values) == ",".join(f"{name}={value}" for name, value in pairs)
    assert all(len(value) <= 1012 for value in values)


@given(st.lists(st.one_of(_special, st.just("é" * 400)), max_size=150))
def test_variables_that_share_lines_are_read_exactly(values: List[str]) -> None:
    pairs = [(f"N({number}", value) for number, value in enumerate(values)]
    read: Pairs = []
    for value in values_of(variable_headers(pairs, 0)):
        assert len(f"Variable: {value}".encode()) <= 1022
        read += parse_variables(value.encode())
    assert read == [(name.encode(), value.encode()) for name, value in pairs]
