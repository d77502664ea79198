"""The input of a batch: lines, and the records and messages in them."""

from __future__ import annotations

from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Iterator, Optional

import pytest

from amiclient.command.records import MAX_LINE, LineReader, Record, read_records
from amiclient.command.signals import Signals
from amiproto import LocalProtocolError


@contextmanager
def reader_of(path: Path, data: bytes) -> Iterator[LineReader]:
    path.write_bytes(data)
    with FileIO(path) as file:
        yield LineReader(file, Signals())


# -- Lines.


def test_lines_keep_their_ends(tmp_path: Path) -> None:
    lines = [b"first\n", b"\n", b"x" * 200_000 + b"\r\n", b"y" * 70_000 + b"\n", b"last"]
    with reader_of(tmp_path / "in", b"".join(lines)) as reader:
        assert [reader.read_line() for _ in lines] == lines
        assert reader.read_line() == b"" and reader.fill(wait=False) and not reader.is_cut


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_overlong_line_is_cut(tmp_path: Path, end: bytes) -> None:
    for size in (MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, MAX_LINE + 2, 2 * MAX_LINE, 3 * MAX_LINE):
        line = b"x" * (size - len(end)) + end
        with reader_of(tmp_path / "in", line + (b"next" if end else b"")) as reader:
            assert reader.read_line() == line[: MAX_LINE + 1]
            assert reader.read_line() == (b"next" if end else b"")


# -- Records.


def test_longest_line_is_read(tmp_path: Path) -> None:
    for size, is_valid in ((MAX_LINE, True), (MAX_LINE + 1, False)):
        text = b'{"to": "pjsip:a", "body": "b"}'.ljust(size - 1) + b"\n"
        with reader_of(tmp_path / "in", text) as reader:
            (record,) = read_records(reader, False)
        if is_valid:
            assert record.message({}).to == "pjsip:a"
        else:
            assert str(MAX_LINE) in record.problem
            assert record.fields == {"input": text.decode()}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e9999999999999999999999999999"])
def test_error_for_a_large_number_is_short(tmp_path: Path, number: str) -> None:
    with reader_of(tmp_path / "in", f'{{"to": "a", "n": {number}}}'.encode()) as reader:
        (record,) = read_records(reader, False)
    assert number[:20] in record.problem and len(record.problem) < 80


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("To", "to"), (" body ", "body"), ("from_", "from"), ("FROM_", "from"),
        ("variable", "variables"), ("Variable_", "variables"), ("Variables", "variables"),
        ("variable:X", "variables"), ("Variables: X", "variables"), ("to:X", None),
        ("id", None), ("too", None), ("toX", None), ("_to", None), ("sender", None),
    ],
)  # fmt: skip
def test_misspelled_key_is_rejected(key: str, known: Optional[str]) -> None:
    record = Record(1, "", {"to": "pjsip:a", "body": "b", key: "c"})
    if known is None:
        assert record.message({}).body == b"b"
    else:
        with pytest.raises(LocalProtocolError) as caught:
            record.message({})
        assert f"{key!r}" in str(caught.value) and f"{known!r}" in str(caught.value)
