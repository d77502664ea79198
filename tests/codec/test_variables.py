"""The Variable header: what is escaped is read back exactly."""

from __future__ import annotations

from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import escape_variable, parse_variables
from amiproto.messaging.variables import kept_variables
from amiproto.text import to_bytes, to_text
from tests.strategies import line_text

Pairs = List[Tuple[bytes, bytes]]

_special = st.text('\\",()[]$%;|= ab', max_size=30)
values = st.one_of(_special, line_text)
names = values.map(lambda text: "N" + text.replace("=", ""))


@given(values)
def test_an_escaped_value_is_read_exactly(value: str) -> None:
    assert parse_variables(b"X=" + to_bytes(escape_variable(value))) == [(b"X", to_bytes(value))]


@given(names, values)
def test_an_escaped_name_is_read_exactly(name: str, value: str) -> None:
    header = f"{escape_variable(name)}={escape_variable(value)}"
    assert parse_variables(to_bytes(header)) == [(to_bytes(name), to_bytes(value))]


@given(st.lists(st.tuples(names, values), max_size=63))
def test_up_to_63_escaped_pairs_are_read_exactly(pairs: List[Tuple[str, str]]) -> None:
    header = ",".join(f"{escape_variable(n)}={escape_variable(v)}" for n, v in pairs)
    assert parse_variables(to_bytes(header)) == [(to_bytes(n), to_bytes(v)) for n, v in pairs]


@given(st.binary())
def test_any_bytes_are_read_as_some_pairs(data: bytes) -> None:
    for name, value in parse_variables(data):
        assert name and b"=" not in name
        assert len(name) + len(value) < len(data)


def test_only_these_are_escaped() -> None:
    everything = "".join(map(chr, range(1, 256)))
    escaped = escape_variable(everything)
    assert len(escaped) - len(everything) == len('\\",()[]')
    assert all(f"\\{char}" in escaped for char in '\\",()[]')


@pytest.mark.parametrize(
    "header, pairs",
    [
        (b"", []),
        (b"a=b", [(b"a", b"b")]),
        (b"a=b,c=d", [(b"a", b"b"), (b"c", b"d")]),
        (b"a=b,,c=d,", [(b"a", b"b"), (b"c", b"d")]),
        (b"a=b=c", [(b"a", b"b=c")]),
        (b"a=", [(b"a", b"")]),
        (b"=b,c", []),
        (b" \t\ra= b ", [(b"a", b" b ")]),
        (b'a="b,c"', [(b"a", b"b,c")]),
        (b'a=b"c', [(b"a", b"bc")]),
        (b"a=(b,c),d=[e,f]", [(b"a", b"(b,c)"), (b"d", b"[e,f]")]),
        (b"a=),b=],c=d", [(b"a", b")"), (b"b", b"]"), (b"c", b"d")]),
        (b'a="(",b=c', [(b"a", b"(,b=c")]),  # brackets count inside quotes too
        (b"a=\\,\\\\,b\\=c=d", [(b"a", b",\\"), (b"b", b"c=d")]),
        (b"a=b\\", [(b"a", b"b")]),
        (b"a=$b%c;d|e", [(b"a", b"$b%c;d|e")]),
    ],
)
def test_the_grammar(header: bytes, pairs: Pairs) -> None:
    assert parse_variables(header) == pairs


def test_the_64th_item_swallows_the_rest_unread() -> None:
    header = ",".join(f"v{number}=x" for number in range(63))
    assert len(parse_variables(header.encode())) == 63
    pairs = parse_variables(f'{header},a="\\,b",c=d'.encode())
    assert len(pairs) == 64 and pairs[63] == (b"a", b'"\\,b",c=d')


@given(line_text)
def test_escaping_never_makes_or_loses_a_byte_that_ends_a_line(text: str) -> None:
    assert to_text(to_bytes(escape_variable(text))).replace("\\", "") == to_text(
        to_bytes(text)
    ).replace("\\", "")


def test_variables_are_set_from_either_end() -> None:
    wire = b"Action: x\r\nVariable: A=1,b=2\r\nvariable:a=3\r\nVARIABLE: B=,C=4\r\n\r\n"
    assert kept_variables(wire) == (("A", "3"), ("C", "4"))
    assert kept_variables(wire, first_counts=True) == (("b", "2"), ("a", "1"), ("C", "4"))
