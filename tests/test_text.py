"""Text and bytes: lossless both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto.text import is_encodable, to_bytes, to_text


@given(st.binary())
def test_any_bytes_come_back(data: bytes) -> None:
    assert to_bytes(to_text(data)) == data


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_any_text_without_surrogates_comes_back(text: str) -> None:
    assert to_text(to_bytes(text)) == text


def test_bytes_that_are_no_utf_8_become_the_surrogates_of_pep_383() -> None:
    assert to_text(b"caf\xc3\xa9 \xff") == "café \udcff"


@given(st.text(st.characters(whitelist_categories=["Cs", "Ll"])))
def test_is_encodable_says_whether_to_bytes_takes_it(text: str) -> None:
    if is_encodable(text):
        to_bytes(text)
    else:
        with pytest.raises(UnicodeEncodeError):
            to_bytes(text)
