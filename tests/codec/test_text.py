"""Text and bytes: lossless both ways."""

from __future__ import annotations

from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto._text import (
    action_lines,
    get_header,
    is_encodable,
    split_lines,
    to_bytes,
    to_exact_bytes,
    to_exact_str,
    to_text,
)


@given(st.binary())
def test_any_bytes_come_back(data: bytes) -> None:
    assert to_bytes(to_text(data)) == data


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_any_text_without_surrogates_comes_back(text: str) -> None:
    assert to_text(to_bytes(text)) == text


def test_bytes_that_are_no_utf_8_become_lone_surrogates() -> None:
    assert to_text(b"caf\xc3\xa9 \xff") == "café \udcff"


@given(st.text(st.characters(whitelist_categories=["Cs", "Ll"])))
def test_is_encodable_says_whether_to_bytes_takes_it(text: str) -> None:
    if is_encodable(text):
        to_bytes(text)
    else:
        with pytest.raises(UnicodeEncodeError):
            to_bytes(text)


class Liar(str):
    """A str that tells another text to whoever asks for one."""

    def __str__(self) -> str:
        return "lie"

    def __format__(self, spec: str) -> str:
        return "lie"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def encode(self, *arguments: Any) -> bytes:
        return b"lie"

    def isprintable(self) -> bool:
        return True


class LyingBytes(bytes):
    """Bytes that tell others."""

    def __bytes__(self) -> bytes:
        return b"lie"

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(b"lie")

    def __getitem__(self, key: Any) -> Any:
        return b"lie"


def test_plain_is_what_is_held_and_not_what_is_told() -> None:
    plain = to_exact_str(Liar("truth"), "x")
    assert type(plain) is str and "".join(plain) == "truth"
    for given_ in (Liar("truth"), LyingBytes(b"truth"), bytearray(b"truth"), memoryview(b"truth")):
        data = to_exact_bytes(given_, "x")  # type: ignore[arg-type]
        assert type(data) is bytes and data == b"truth"


@pytest.mark.parametrize("wrong", [None, 5, ["x"], object()])
def test_anything_else_is_a_type_error_by_name(wrong: Any) -> None:
    for plain in (to_exact_str, to_exact_bytes):
        with pytest.raises(TypeError, match="the_name"):
            plain(wrong, "the_name")


# ---- lines as the server reads them ----


def test_each_lf_ends_a_line_and_takes_one_cr_along() -> None:
    assert split_lines(b"a\r\nb\nc\r\r\n\r\n") == [b"a", b"b", b"c\r"]
    assert split_lines(b"\n") == []


def test_a_nul_ends_a_line_and_in_front_makes_it_blank() -> None:
    assert action_lines(b"a: b\0c\r\nd: e\r\n\0junk\r\n") == [b"a: b", b"d: e"]
    assert action_lines(b"a: b\r\n\r\n") == [b"a: b"]


@pytest.mark.parametrize(
    "lines, value",
    [
        ([b"To: x"], b"x"),
        ([b"To: a\0b"], b"a"),
        ([b"X: \0To: b", b"To: c"], b"c"),
        ([b"A: \n", b"To: d"], b"d"),
        ([b"TO:x"], b"x"),
        ([b"to: \t\r\x01 x \t"], b"x \t"),
        ([b"To : x"], b""),
        ([b" To: x"], b""),
        ([b"To"], b""),
        ([b"To: a", b"To: b"], b"a"),
        ([b"To:", b"To: b"], b""),
        ([b"Tomato: a", b"To: b"], b"b"),
        ([], b""),
    ],
)
def test_the_first_header_of_that_name_counts(lines: List[bytes], value: bytes) -> None:
    for end in (b"\r\n", b"\n"):
        wire = b"".join([line + end for line in lines]) + end
        assert get_header(wire, b"To") == value


def test_of_actions_the_first_that_is_not_empty_counts() -> None:
    wire = b"Action:  \r\naction: Ping\r\n\r\n"
    assert get_header(wire, b"Action", skip_empty=True) == b"Ping"
    assert get_header(b"Action:\r\n\r\n", b"Action", skip_empty=True) == b""
    wire = b"Action:\r\nAction: Ping\r\nAction: Logoff\r\n\r\n"
    assert get_header(wire, b"Action", skip_empty=True) == b"Ping"


@given(st.lists(st.binary(max_size=8).map(lambda line: line.replace(b"\n", b"")), max_size=6))
def test_a_value_is_read_as_line_by_line(lines: List[bytes]) -> None:
    lines = [line for line in lines if line.rstrip(b"\r") and line[0]]
    wire = b"".join([line + b"\r\n" for line in lines]) + b"\r\n"
    for line in [b"a:", *action_lines(wire)]:
        name = line.partition(b":")[0]
        if not name or b"\r" in name:
            continue
        values = [
            kept[len(name) + 1 :].lstrip(bytes(range(0x21)))
            for kept in action_lines(wire)
            if kept.lower().startswith(name.lower() + b":")
        ]
        assert get_header(wire, name) == (values or [b""])[0]
        filled = [value for value in values if value]
        assert get_header(wire, name, skip_empty=True) == (filled or [b""])[0]
