"""Headers: an ordered multimap that knows no case and shows no secret."""

from __future__ import annotations

import copy
import pickle
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import Headers, Orphan
from amiproto.headers import _LineCache, pair_of_line, split_line
from amiproto.text import to_bytes, to_text
from tests.strategies import header_names, line_text

all_pairs = st.lists(st.tuples(header_names, line_text), max_size=8)


@pytest.mark.parametrize(
    "line, pair",
    [
        ("Uniqueid: 1.2", ("Uniqueid", "1.2")),
        ("X:y", ("X", "y")),
        ("X:  y ", ("X", " y ")),
        ("Empty: ", ("Empty", "")),
        ("Empty:", ("Empty", "")),
        ("no colon", ("", "no colon")),
        ("", ("", "")),
        (": x", ("", "x")),
        ("ChanVariable(SIP/x-1): a=b", ("ChanVariable(SIP/x-1)", "a=b")),
        ("ChanVariable(SIP/x:1-2): a=b", ("ChanVariable(SIP/x:1-2)", "a=b")),
        ("ChanVariable(SIP/x:1-2: a=b", ("ChanVariable(SIP/x", "1-2: a=b")),
        ("(x): y", ("(x)", "y")),
        ("a)(: b", ("a)(", "b")),
    ],
)
def test_split_line(line: str, pair: Tuple[str, str]) -> None:
    assert split_line(line) == pair


@given(all_pairs)
def test_it_is_the_multimap_that_a_plain_list_is(pairs: List[Tuple[str, str]]) -> None:
    headers = Headers(pairs)
    canonical = [(to_text(to_bytes(n)), to_text(to_bytes(v))) for n, v in pairs]
    assert list(headers.items()) == canonical
    assert list(headers) == headers.keys() == [name for name, _ in canonical]
    assert headers.values() == [value for _, value in canonical]
    assert len(headers) == len(pairs)
    for name, _ in canonical:
        wanted = [value for key, value in canonical if key.lower() == name.lower()]
        assert headers.get_all(name) == wanted
        assert headers[name] == headers.get(name) == wanted[0]
        assert name in headers
    assert "Not-There" not in headers and 5 not in headers
    assert headers.get("Not-There") is None and headers.get("Not-There", "x") == "x"
    assert headers.get_all("Not-There") == []
    with pytest.raises(KeyError):
        headers["Not-There"]


def test_names_match_in_any_case() -> None:
    headers = Headers({"Output": "one"})
    assert headers["OUTPUT"] == headers["output"] == "one" and "oUtPuT" in headers


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


@given(all_pairs)
def test_what_is_built_equals_what_is_read(pairs: List[Tuple[str, str]]) -> None:
    assert Headers([("X", "y"), *pairs]) == Orphan([("X", "y"), *pairs]).headers


@pytest.mark.parametrize("pairs", [[("a", 1)], [(1, "a")], [(b"a", "b")], {"a": None}])
def test_anything_but_str_is_refused(pairs: Any) -> None:
    with pytest.raises(TypeError, match="headers hold str"):
        Headers(pairs)


def test_a_surrogate_that_stands_for_no_byte_is_kept_until_it_is_to_be_sent() -> None:
    assert Headers({"X": "\ud800"})["x"] == "\ud800"


def test_they_cannot_be_changed() -> None:
    headers = Headers({"X": "y"})
    for attribute in ("items", "new"):
        with pytest.raises(AttributeError):
            setattr(headers, attribute, ())
    with pytest.raises(TypeError):
        headers["X"] = "z"  # type: ignore[index]


@given(line_text, st.sampled_from(["Secret", "SECRET", "key", "Challenge"]))
def test_the_repr_shows_no_secret(value: str, name: str) -> None:
    shown = repr(Headers([("User", "joe"), (name, "S3CR3T" + value)]))
    assert "S3CR3T" not in shown and "<redacted>" in shown and "'joe'" in shown


@given(st.lists(line_text))
def test_lines_read_twice_give_the_same(lines: List[str]) -> None:
    expected = [split_line(line) for line in lines]
    assert [pair_of_line(line) for line in lines * 2] == expected * 2


def test_the_cache_of_lines_is_bounded_and_holds_no_secret() -> None:
    cache = _LineCache()
    for number in range(5 * cache.MAX_LINES):
        assert cache[f"Uniqueid: {number}"] == ("Uniqueid", str(number))
        assert len(cache) <= cache.MAX_LINES and len(cache._old) <= cache.MAX_LINES
    cache.clear()
    for line in ("Secret: x", "KEY: x", "Challenge: 1", "X: ".ljust(129, "y")):
        assert cache[line][1]
        assert not cache
    assert cache["X: ".ljust(128, "y")][0] == "X" and len(cache) == 1


def test_the_cache_of_lines_keeps_those_in_use() -> None:
    cache = _LineCache()
    kept = cache["Context: default"]
    for number in range(10 * cache.MAX_LINES):
        cache[f"Uniqueid: {number}"]
        assert number % 100 or cache["Context: default"] is kept
