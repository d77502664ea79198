"""Headers: an ordered multimap with names in any case, immutable and hashable."""

from __future__ import annotations

import copy
import pickle
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import Headers, UnknownMessage
from amiproto._text import to_bytes, to_text
from tests.strategies import header_names, line_text

all_pairs = st.lists(st.tuples(header_names, line_text), max_size=8)


def parse(*lines: str) -> Headers:
    """Return the headers of a stanza of these lines."""
    return Headers(to_bytes("".join(line + "\r\n" for line in lines) + "\r\n"))


@pytest.mark.parametrize(
    "line, pair",
    [
        ("Uniqueid: 1.2", ("Uniqueid", "1.2")), ("X:y", ("X", "y")), ("X:  y ", ("X", " y ")),
        ("Empty: ", ("Empty", "")), ("Empty:", ("Empty", "")), ("no colon", ("", "no colon")),
        ("", ("", "")), (": x", ("", "x")),
        ("ChanVariable(SIP/x-1): a=b", ("ChanVariable(SIP/x-1)", "a=b")),
        ("ChanVariable(SIP/x:1-2): a=b", ("ChanVariable(SIP/x:1-2)", "a=b")),
        ("ChanVariable(SIP/x:1-2: a=b", ("ChanVariable(SIP/x", "1-2: a=b")),
        ("(x): y", ("(x)", "y")), ("a)(: b", ("a)(", "b")),
        ("ChanVariable(SIP/x:1):a=b", ("ChanVariable(SIP/x:1)", "a=b")),
        ("ChanVariable(SIP/x:1): (y): z", ("ChanVariable(SIP/x:1)", "(y): z")),
        ("a(b: c): d", ("a(b", "c): d")),  # a space follows the colon in brackets
        ("X(a)b:(c): d", ("X(a)b", "(c): d")), ("X:y): z", ("X", "y): z")),
    ],
)  # fmt: skip
def test_line_is_split_into_name_and_value(line: str, pair: Tuple[str, str]) -> None:
    assert parse(line).items() == (pair,)


def canonical(text: str) -> str:
    """Return text in the form that decoding gives: surrogates only for bytes that are not UTF-8."""
    return to_text(to_bytes(text))


def same(one: str, other: str) -> bool:
    """Compare two names, ignoring the case of ASCII letters."""
    return to_bytes(one).lower() == to_bytes(other).lower()


@given(all_pairs)
def test_headers_match_reference_multimap(pairs: List[Tuple[str, str]]) -> None:
    headers = Headers(pairs)
    expected = [(canonical(name), canonical(value)) for name, value in pairs]
    assert list(headers.items()) == expected
    assert list(headers) == headers.keys() == [name for name, _ in expected]
    assert headers.values() == [value for _, value in expected]
    assert len(headers) == len(pairs)
    for name, _ in expected:
        values = [value for key, value in expected if same(key, name)]
        assert headers.get_all(name) == values
        assert headers[name] == headers.get(name) == values[0]
        assert name in headers


def test_missing_header() -> None:
    headers = Headers({"X": "y"})
    assert "Missing" not in headers and 5 not in headers
    assert headers.get("Missing") is None and headers.get("Missing", "x") == "x"
    assert headers.get_all("Missing") == []
    with pytest.raises(KeyError, match="'Missing'"):
        headers["Missing"]


@given(all_pairs)
def test_headers_are_equal_hashable_and_copyable(pairs: List[Tuple[str, str]]) -> None:
    headers = Headers(pairs)
    for other in (
        Headers(headers),
        copy.copy(headers),
        copy.deepcopy(headers),
        pickle.loads(pickle.dumps(headers)),
    ):
        assert other == headers and hash(other) == hash(headers)
    assert headers != Headers([*pairs, ("One", "more")])
    assert headers != pairs
    assert Headers([("X", "y"), *pairs]) == UnknownMessage([("X", "y"), *pairs]).headers


def test_different_headers_have_different_hashes() -> None:
    assert len({hash(Headers([("A", str(number))])) for number in range(9)}) > 1


def test_surrogate_that_cannot_be_encoded() -> None:
    headers = Headers({"\ud800": "\ud800"})
    assert headers["\ud800"] == "\ud800" and headers.items() == (("\ud800", "\ud800"),)


def test_headers_are_immutable() -> None:
    headers = Headers({"X": "y"})
    for attribute in ("items", "new"):
        with pytest.raises(AttributeError):
            setattr(headers, attribute, ())
    with pytest.raises(TypeError):
        headers["X"] = "z"  # type: ignore[index]


lines = st.text(st.sampled_from("abAB:( )-\r\n\0\udc80É"), max_size=12).filter(
    lambda line: "\r\n" not in line and not line.endswith("\r")
)


@given(st.lists(lines, max_size=6), st.sampled_from("a A b ab AB a-B É (a (a:b :".split()))
def test_get_on_bytes_matches_get_on_pairs(written: List[str], name: str) -> None:
    headers = parse(*[line.lstrip("\n") for line in written])
    found = headers.get(name, "none")  # before the lines are split
    expected = [value for key, value in headers.items() if same(key, name)]
    assert found == headers.get(name, "none") == (expected or ["none"])[0]
    assert headers == Headers(headers.items())
    assert found == Headers(headers.items()).get(name, "none")


def test_case_folding_is_ascii_only() -> None:
    # Asterisk compares with strcasecmp. The Kelvin sign is "k" in lower case.
    assert Headers({"Output": "x"})["oUtPuT"] == "x"
    assert Headers({"\u212aey": "x"}).get("key") is None
    for headers in (Headers({"É": "one", "b": "two"}), parse("É: one", "b: two")):
        assert [headers.get(name) for name in ("É", "é", "B")] == ["one", None, "two"]
