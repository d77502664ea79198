"""Lines as the server reads them."""

from __future__ import annotations

from typing import List

import pytest

from amiproto.lines import action_lines, lf_lines, value_as_read


def test_each_lf_ends_a_line_and_takes_one_cr_along() -> None:
    assert lf_lines(b"a\r\nb\nc\r\r\n\r\n") == [b"a", b"b", b"c\r"]
    assert lf_lines(b"\n") == []


def test_a_nul_ends_a_line_and_a_line_that_starts_with_one_is_the_blank_line() -> None:
    assert action_lines(b"a: b\0c\r\nd: e\r\n\0junk\r\n") == [b"a: b", b"d: e"]
    assert action_lines(b"a: b\r\n\r\n") == [b"a: b"]


@pytest.mark.parametrize(
    "lines, value",
    [
        ([b"To: x"], b"x"),
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
    assert value_as_read(lines, b"To") == value


def test_of_actions_the_first_that_is_not_empty_counts() -> None:
    assert value_as_read([b"Action:  ", b"action: Ping"], b"Action", skip_empty=True) == b"Ping"
    assert value_as_read([b"Action:"], b"Action", skip_empty=True) == b""
