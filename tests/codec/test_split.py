"""Cutting a text that is too long for one message."""

from __future__ import annotations

import time
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import BodyTooLong, InvalidBody, MessageSend, split_body

#: What a reader sees as one character each, and where no rule joins one to the next.
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
def test_the_parts_joined_give_the_text_and_each_fits(text: str) -> None:
    parts = split_body(text)
    assert "".join(parts) == text
    for part in parts:
        assert MessageSend("other:x", part).text == part
    if len(parts) == 1:
        return
    assert all(parts)
    with pytest.raises(BodyTooLong):
        MessageSend("other:x", text)


@given(texts)
def test_no_part_is_smaller_than_it_need_be(text: str) -> None:
    parts = split_body(text)
    for part in parts[:-1]:
        # Cut in its second half: of at most 757 bytes, half the characters, of four bytes at most.
        assert len(part) > 90


@given(
    st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=60), st.sampled_from([1, 10, 40, 100])
)
def test_what_a_reader_sees_as_one_character_is_kept_together(
    clusters: List[str], times: int
) -> None:
    clusters = clusters * times
    ends = {0}
    for cluster in clusters:
        ends.add(max(ends) + len(cluster))
    position = 0
    for part in split_body("".join(clusters)):
        position += len(part)
        assert position in ends, part[-5:]


@pytest.mark.parametrize("first", ["", "a", "aa", "aaa"])
@pytest.mark.parametrize("cluster", [text for text in CLUSTERS if text not in "\r\n "])
def test_each_of_them_is_kept_together(cluster: str, first: str) -> None:
    parts = split_body(first + cluster * 1100)
    assert len(parts) > 1 and parts[0].startswith(first)
    assert {part.replace(cluster, "") for part in parts} <= {"", first}


#: What comes before a place, what after it, and whether a text may be cut there.
PLACES = [
    ("a", "b", True),
    ("\r", "\n", False),
    ("\r", "\r", True),
    ("\r", "X", True),
    ("\n", "\n", True),
    ("\n", "\r", True),
    ("X\n", "X", True),
    ("\n", "\u0301", True),  # after a line end there is nothing to put an accent on
    ("\r", "\u0301", True),
    ("X", "\u0301", False),
    ("日", "\u0301", False),
    ("❤", "\ufe0f", False),  # the variation selector that makes it red
    ("क", "\u093f", False),  # a vowel sign that takes room of its own
    ("👩", "\u200d", False),
    ("👩\u200d", "👧", False),
    ("👍", "\U0001f3fb", False),  # the lightest skin tone
    ("👍", "\U0001f3ff", False),  # and the darkest
    ("👍", "🏺", True),  # the characters right before and after those
    ("👍", "🐀", True),
    ("🏴", "\U000e0020", False),  # tags, the first of all and the one that ends a flag
    ("🏴\U000e0067\U000e0062", "\U000e007f", False),
    ("🏴", "\U000e0080", True),
    ("🇩", "🇪", False),
    ("🇩🇪", "🇯", True),
    ("🇩🇪🇯", "🇵", False),
    ("🇩🇪🇯🇵", "🇦", True),
    ("🇦", "🇿", False),
    ("🇿", "🇦", False),
    ("🇩", "x", True),
    ("x", "🇩", True),
    ("\u1100", "\u1161", False),  # Hangul by its parts: a consonant and a vowel
    ("\u1100", "\u1160", False),  # the vowel that fills a gap
    ("\u1100\u1161", "\u11a8", False),  # a final consonant
    ("\u11ff", "\u11ff", False),
    ("가", "\u11a8", False),  # the first syllable block, and the last
    ("힣", "\u11a8", False),
    ("가", "나", True),
    ("가", "\u1100", True),
    ("a", "\u1161", True),
    ("日", "\u1161", True),
]  # fmt: skip


@pytest.mark.parametrize("before, after, may_be_cut", PLACES)
def test_where_a_reader_sees_one_character_end(before: str, after: str, may_be_cut: bool) -> None:
    # The first part has room for what comes before the place, and for no byte more.
    room = 757 if set("\r\n") & set(before) else 1016
    first = "-" * (room - len(before.encode())) + before
    parts = split_body(first + after + "-" * 1016)
    assert (parts[0] == first) == may_be_cut
    assert len(parts[0]) >= len(first) - len(before)


def test_it_cuts_after_line_ends_then_after_blanks() -> None:
    line = "x" * 99 + "\n"
    assert split_body(line * 20) == [line * 7, line * 7, line * 6]
    word = "y" * 99 + " "
    assert split_body(word * 20) == [word * 10, word * 10]
    # A line end in the first half only is too far in front to cut there.
    both = "a\n" + "z" * 500 + " " + "z" * 1500
    assert [len(part) for part in split_body(both)] == [503, 1016, 484]
    assert [len(part) for part in split_body("x" * 2000)] == [1016, 984]


@pytest.mark.parametrize(
    "blank, size", [(1, 1016), (400, 1016), (507, 1016), (508, 509), (600, 601), (1014, 1015)]
)
def test_a_blank_counts_in_the_second_half_only(blank: int, size: int) -> None:
    text = "x" * blank + " " + "x" * (2000 - blank)
    assert len(split_body(text)[0]) == size


def test_a_blank_under_an_accent_is_no_blank() -> None:
    accented = "x" * 999 + " \u0301" + "y" * 1000
    assert [len(part) for part in split_body(accented)] == [1015, 986]
    bare = "x" * 998 + "\u0301 " + "y" * 1000
    assert [len(part) for part in split_body(bare)] == [1000, 1000]


def test_a_text_that_fits_is_left_alone() -> None:
    for text in ("", "x" * 1016, "x" * 756 + "\n", "é" * 508):
        assert split_body(text) == [text]
    assert split_body("x" * 1017) == ["x" * 1016, "x"]
    assert split_body("\n" * 758) == ["\n" * 757, "\n"]
    assert split_body(" " + "x" * 757) == [" " + "x" * 756, "x"]


def test_a_line_end_past_what_base64_holds_leaves_text_to_body() -> None:
    for x in "xX":
        assert split_body(x * 900 + "\n" + "y" * 900) == [x * 900, "\n" + "y" * 756, "y" * 144]


@pytest.mark.parametrize(
    "cluster", ["a" + "\u0301" * 2000, "👩" + "\u200d👩" * 2000, "\u200d" * 5000]
)
def test_one_character_that_fits_no_message_is_cut_all_the_same(cluster: str) -> None:
    parts = split_body(cluster)
    assert "".join(parts) == cluster and all(len(part.encode()) <= 1016 for part in parts)
    assert "".join(split_body("\n" + cluster)) == "\n" + cluster


@pytest.mark.parametrize("letters, size", [(340, 678), (341, 340), (400, 399)])
def test_a_character_of_over_half_a_part_is_cut(letters: int, size: int) -> None:
    # Its last letter has all the accents, and the first half of the 678 ends behind 339.
    assert len(split_body("x" * letters + "\u0301" * 2000)[0]) == size


@pytest.mark.parametrize("text", ["\ud800", "x" * 3000 + "\udcff"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    with pytest.raises(InvalidBody, match=f"at character {len(text) - 1}.*; remove it") as caught:
        split_body(text)
    assert caught.value.field == "Body"


def test_a_text_is_a_str() -> None:
    anything: Any = b"x"
    with pytest.raises(TypeError, match="^text is a str, not bytes$"):
        split_body(anything)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["x", "x ", "x\n", "日本語", "\n", "🇩🇪", "\u0301", "e\u0301", "\r\n"]
)
def test_a_text_of_megabytes_takes_linear_time(unit: str) -> None:
    text = unit * (5_000_000 // len(unit.encode()))
    started = time.perf_counter()
    parts = split_body(text)
    assert time.perf_counter() - started < 20
    assert "".join(parts) == text
