"""Splitting a text that is too long for one message."""

from __future__ import annotations

import time
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import BodyTooLong, InvalidBody, MessageSend, split_body

#: Each is one character to a reader, and does not combine with the next.
CLUSTERS = [
    "a", "é", "e\u0301", "o\u0302\u0323", "日", "ก็", "नि", "👍", "👍🏽", "🇩🇪", "🇯🇵", "❤\ufe0f",
    "👩\u200d👩\u200d👧\u200d👦", "🏴\U000e0067\U000e0062\U000e0065\U000e007f", "1\ufe0f\u20e3", "가",
    "\u1100\u1161\u11a8", "\uac00\u11a8", "\r\n", " ", "\n", "-", " \u0301",
]  # fmt: skip

chunks = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["\n", "\r\n", " ", "\t", "x" * 700, "é" * 400, "日" * 300, "👍🏽" * 80, "\r"]),
    st.lists(st.sampled_from(CLUSTERS), max_size=20).map("".join),
)
texts = st.builds(
    lambda parts, times: ("".join(parts) * times).replace("\0", ""),
    st.lists(chunks, max_size=8),
    st.sampled_from([1, 1, 2, 10, 50]),
).filter(lambda text: text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


@given(texts)
def test_parts_fit_and_joined_give_the_text(text: str) -> None:
    parts = split_body(text)
    assert "".join(parts) == text
    for part in parts:
        assert MessageSend("other:x", part).text == part
    # A part ends in its second half, and 757 bytes are at least 189 characters.
    assert all(len(part) > 90 for part in parts[:-1])
    if len(parts) == 1:
        return
    assert all(parts)
    with pytest.raises(BodyTooLong):
        MessageSend("other:x", text)


@given(
    st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=60), st.sampled_from([1, 10, 40, 100])
)
def test_combined_characters_are_not_split(clusters: List[str], times: int) -> None:
    clusters = clusters * times
    ends = {0}
    for cluster in clusters:
        ends.add(max(ends) + len(cluster))
    position = 0
    for part in split_body("".join(clusters)):
        position += len(part)
        assert position in ends, part[-5:]


#: The text before a place, the text after it, and whether the place can end a part.
PLACES = [
    ("a", "b", True), ("\r", "\n", False), ("\r", "\r", True), ("\r", "X", True),
    ("\n", "\n", True), ("\n", "\r", True), ("X\n", "X", True),
    ("\n", "\u0301", True),  # an accent does not combine with a line end
    ("\r", "\u0301", True), ("X", "\u0301", False), ("日", "\u0301", False),
    ("❤", "\ufe0f", False),  # the variation selector that makes it red
    ("क", "\u093f", False),  # a spacing vowel sign
    ("👩", "\u200d", False), ("👩\u200d", "👧", False),
    ("👍", "\U0001f3fb", False),  # the lightest skin tone
    ("👍", "\U0001f3ff", False),  # and the darkest
    ("👍", "🏺", True),  # the characters right before and after those
    ("👍", "🐀", True),
    ("🏴", "\U000e0020", False),  # the first of the tags, and the one that ends a flag
    ("🏴\U000e0067\U000e0062", "\U000e007f", False), ("🏴", "\U000e0080", True), ("🇩", "🇪", False),
    ("🇩🇪", "🇯", True), ("🇩🇪🇯", "🇵", False), ("🇩🇪🇯🇵", "🇦", True), ("🇦", "🇿", False),
    ("🇿", "🇦", False), ("🇩", "x", True), ("x", "🇩", True),
    ("\u1100", "\u1161", False),  # Hangul by its parts: a consonant and a vowel
    ("\u1100", "\u1160", False),  # the filler vowel
    ("\u1100\u1161", "\u11a8", False),  # a final consonant
    ("\u11ff", "\u11ff", False),
    ("가", "\u11a8", False),  # the first syllable block, and the last
    ("힣", "\u11a8", False), ("가", "나", True), ("가", "\u1100", True), ("a", "\u1161", True),
    ("日", "\u1161", True),
]  # fmt: skip


@pytest.mark.parametrize("before, after, can_end", PLACES)
def test_places_that_can_end_a_part(before: str, after: str, can_end: bool) -> None:
    # The text before the place fills the first part.
    room = 757 if set("\r\n") & set(before) else 1016
    first = "-" * (room - len(before.encode())) + before
    parts = split_body(first + after + "-" * 1016)
    assert (parts[0] == first) == can_end
    assert len(parts[0]) >= len(first) - len(before)


def test_parts_end_after_line_ends_then_after_spaces() -> None:
    line = "x" * 99 + "\n"
    assert split_body(line * 20) == [line * 7, line * 7, line * 6]
    word = "y" * 99 + " "
    assert split_body(word * 20) == [word * 10, word * 10]
    # A line end in the first half does not end a part.
    both = "a\n" + "z" * 500 + " " + "z" * 1500
    assert [len(part) for part in split_body(both)] == [503, 1016, 484]
    assert [len(part) for part in split_body("x" * 2000)] == [1016, 984]


@pytest.mark.parametrize(
    "space, size", [(1, 1016), (400, 1016), (507, 1016), (508, 509), (600, 601), (1014, 1015)]
)
def test_a_space_ends_a_part_only_in_its_second_half(space: int, size: int) -> None:
    text = "x" * space + " " + "x" * (2000 - space)
    assert len(split_body(text)[0]) == size


def test_a_space_with_an_accent_does_not_end_a_part() -> None:
    accented = "x" * 999 + " \u0301" + "y" * 1000
    assert [len(part) for part in split_body(accented)] == [1015, 986]
    bare = "x" * 998 + "\u0301 " + "y" * 1000
    assert [len(part) for part in split_body(bare)] == [1000, 1000]


def test_a_text_that_fits_is_not_split() -> None:
    for text in ("", "x" * 1016, "x" * 756 + "\n", "é" * 508):
        assert split_body(text) == [text]
    assert split_body("x" * 1017) == ["x" * 1016, "x"]
    assert split_body("\n" * 758) == ["\n" * 757, "\n"]
    assert split_body(" " + "x" * 757) == [" " + "x" * 756, "x"]


def test_text_before_a_late_line_end_is_sent_as_body() -> None:
    for x in "xX":
        assert split_body(x * 900 + "\n" + "y" * 900) == [x * 900, "\n" + "y" * 756, "y" * 144]


@pytest.mark.parametrize(
    "cluster", ["a" + "\u0301" * 2000, "👩" + "\u200d👩" * 2000, "\u200d" * 5000]
)
def test_a_combined_character_that_is_too_long_is_split(cluster: str) -> None:
    parts = split_body(cluster)
    assert "".join(parts) == cluster and all(len(part.encode()) <= 1016 for part in parts)
    assert "".join(split_body("\n" + cluster)) == "\n" + cluster


@pytest.mark.parametrize("letters, size", [(340, 678), (341, 340), (400, 399)])
def test_a_combined_character_of_over_half_a_part_is_split(letters: int, size: int) -> None:
    # The last letter has all the accents; half of the 678 characters is 339.
    assert len(split_body("x" * letters + "\u0301" * 2000)[0]) == size


@pytest.mark.parametrize("text", ["\ud800", "x" * 3000 + "\udcff"])
def test_a_lone_surrogate_is_rejected(text: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        split_body(text)
    assert caught.value.field == "Body" and f"{len(text) - 1}" in str(caught.value)


def test_text_must_be_a_str() -> None:
    anything: Any = b"x"
    with pytest.raises(TypeError):
        split_body(anything)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["x", "x ", "x\n", "日本語", "\n", "🇩🇪", "\u0301", "e\u0301", "\r\n"]
)
def test_splitting_takes_linear_time(unit: str) -> None:
    text = unit * (2_000_000 // len(unit.encode()))
    started = time.perf_counter()
    parts = split_body(text)
    assert time.perf_counter() - started < 8
    assert "".join(parts) == text
