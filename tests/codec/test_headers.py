"""Headers: an ordered multimap that knows no case and shows no secret."""

from __future__ import annotations

import copy
import pickle
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import Headers, UnknownMessage
from amiproto._text import to_bytes, to_text
from amiproto.headers import redact, split_line
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
        ("ChanVariable(SIP/x:1):a=b", ("ChanVariable(SIP/x:1)", "a=b")),
        ("ChanVariable(SIP/x:1): (y): z", ("ChanVariable(SIP/x:1)", "(y): z")),
        ("a(b: c): d", ("a(b", "c): d")),  # a blank comes after the colon
        ("X(a)b:(c): d", ("X(a)b", "(c): d")),
        ("X:y): z", ("X", "y): z")),
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
        wanted = [value for key, value in canonical if same(key, name)]
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
    assert Headers([("X", "y"), *pairs]) == UnknownMessage([("X", "y"), *pairs]).headers


@pytest.mark.parametrize("pairs", [[("a", 1)], [(1, "a")], [(b"a", "b")], {"a": None}])
def test_anything_but_str_is_refused(pairs: Any) -> None:
    with pytest.raises(TypeError, match="in headers is a str"):
        Headers(pairs)


def test_a_surrogate_without_a_byte_is_kept_until_it_is_sent() -> None:
    assert Headers({"X": "\ud800"})["x"] == "\ud800"


def test_a_repr_shows_pair_by_pair_what_is_no_secret() -> None:
    headers = Headers([("Key", "x"), ("A", "b"), ("C", "d")])
    assert repr(headers) == "Headers([('Key', '<redacted>'), ('A', 'b'), ('C', 'd')])"


def test_other_headers_have_other_hashes() -> None:
    assert len({hash(Headers([("A", str(number))])) for number in range(9)}) > 1


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


@pytest.mark.parametrize(
    "line",
    [
        "Secret: {}",
        "MD5Secret: {}",
        "Password: {}",
        "Key: {}",
        "Challenge: {}",
        "X-Auth-Token: {}",
        "Line-000000-000000: secret={}",
        "Line-000000-000000: secret => {}",
        "Line-000000-000001: md5_cred = {}",
        "Variable: DB_PASSWORD={}",
        "ChanVariable(SIP/x-1): vm_password={}",
        "AppData: a=1,pin={}",
        "Output:   Secret               : {}",
    ],
)
def test_values_under_such_names_are_not_shown(line: str) -> None:
    name, value = split_line(line.format("S3CR3T"))
    for headers in (Headers([(name, value)]), Headers(f"{name}: {value}\r\n\r\n".encode())):
        assert "S3CR3T" not in repr(headers) and "<redacted>" in repr(headers)
        assert headers[name] == value


@pytest.mark.parametrize("line", ["Monkey: x", "Keyboard: a=1", "AppData: monkey=5", "Pinned: 1"])
def test_other_values_are_shown_as_they_are(line: str) -> None:
    assert list(redact([split_line(line)])) == [split_line(line)]


lines = st.text(st.sampled_from("abAB:( )-\r\n\0\udc80É"), max_size=12).filter(
    lambda line: "\r\n" not in line and not line.endswith("\r")
)


@given(st.lists(lines, max_size=6), st.sampled_from("a A b ab AB a-B É (a (a:b :".split()))
def test_a_header_found_in_the_text_is_the_first_line(written: List[str], name: str) -> None:
    written = [line.lstrip("\n") for line in written]
    headers = Headers(b"".join([to_bytes(line) + b"\r\n" for line in written]) + b"\r\n")
    pairs = [split_line(line) for line in written]
    expected = [value for key, value in pairs if same(key, name)]
    assert headers.get(name, "none") == (expected or ["none"])[0]
    assert headers.items() == tuple(pairs)
    assert headers == Headers(pairs)
    assert headers.get(name, "none") == Headers(pairs).get(name, "none")


def same(one: str, other: str) -> bool:
    """Whether two names are the same but for the case of ASCII letters."""
    return to_bytes(one).lower() == to_bytes(other).lower()


def test_only_ascii_letters_have_a_case() -> None:
    # As for Asterisk, which compares with strcasecmp. The Kelvin sign is "k" in lower case.
    assert Headers({"\u212aey": "x"}).get("key") is None
    assert Headers({"É": "x"}).get("é") is None and Headers({"É": "x"})["É"] == "x"
    assert Headers({"\ud800": "x"})["\ud800"] == "x"


def test_a_name_outside_ascii_is_found_in_the_bytes() -> None:
    headers = Headers("Ä: one\r\nb: two\r\n\r\n".encode())
    assert [headers.get(name) for name in ("Ä", "ä", "B")] == ["one", None, "two"]


def test_a_missing_header_is_named_as_it_was_asked_for() -> None:
    with pytest.raises(KeyError, match="'Nope'"):
        Headers({"X": "y"})["Nope"]
    with pytest.raises(TypeError, match="headers takes a mapping or pairs, not int"):
        Headers(5)  # type: ignore[arg-type]
