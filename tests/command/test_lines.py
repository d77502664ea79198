"""The lines of a batch by themselves: how they are read, and what each says of a message."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest

from amiclient.command import records as source
from amiclient.command.records import MAX_LINE, Line, Source, read_csv, read_json
from amiclient.command.signals import Signals
from amiproto import LocalProtocolError
from tests.faults import start_thread

needs_pipes = pytest.mark.skipif(os.name != "posix", reason="needs pipes that can be waited for")


@contextmanager
def source_of(path: Path, data: bytes) -> Iterator[Source]:
    path.write_bytes(data)
    with open(path, "rb") as file:
        yield Source(file.fileno(), Signals())


# -- Bytes by lines.


def test_lines_are_read_with_their_ends(tmp_path: Path) -> None:
    lines = [b"first\n", b"\n", b"x" * 200_000 + b"\r\n", b"y" * 70_000 + b"\n", b"last"]
    with source_of(tmp_path / "in", b"".join(lines)) as given:
        assert given.position == 0
        assert [given.read_line() for _ in lines] == lines
        assert given.read_line() == b"" and given.ended
        assert given.position == sum(map(len, lines))


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_of_a_long_line_is_kept_what_shows_it(tmp_path: Path, end: bytes) -> None:
    for size in (MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, MAX_LINE + 2, 2 * MAX_LINE, 3 * MAX_LINE):
        line = b"x" * (size - len(end)) + end
        with source_of(tmp_path / "in", line + (b"next" if end else b"")) as given:
            assert given.read_line() == line[: MAX_LINE + 1]
            assert given.read_line() == (b"next" if end else b"")


@needs_pipes
def test_whether_there_is_a_line_is_told_without_a_wait() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb", 0) as end:
        given = Source(pipe.fileno(), Signals())

        def seconds() -> float:
            start = time.monotonic()
            assert not given.has_line()
            return time.monotonic() - start

        assert any(seconds() < 0.5 for _ in range(3))  # one may be late on a loaded machine
        end.write(b"half")
        assert not given.has_line()
        end.write(b" a line\nmore")
        assert given.has_line() and given.read_line() == b"half a line\n"
        assert not given.has_line()
        end.close()
        assert given.has_line() and given.read_line() == b"more"
        assert given.has_line() and given.read_line() == b""


@needs_pipes
@pytest.mark.parametrize("parts", [[b"line\n"], [b"li", b"ne\n"]])
def test_what_is_on_its_way_at_a_signal_is_still_read(
    monkeypatch: pytest.MonkeyPatch, parts: List[bytes]
) -> None:
    monkeypatch.setattr(source, "_GRACE", 10.0)
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", 0) as end:
            for part in parts:
                time.sleep(0.05)
                end.write(part)

    with open(reading, "rb") as pipe, Signals() as interrupts:
        interrupts.note()
        os.kill(os.getpid(), signal.SIGTERM)
        given = Source(pipe.fileno(), interrupts)
        thread = start_thread(write)
        assert given.read_line() == b"line\n"
        thread.join()


# -- Lines of JSON and of CSV.


def test_each_row_has_the_number_of_its_first_line(tmp_path: Path) -> None:
    text = b'to,body\n\na,b\nc,"d\ne"\nf,g\nh,"i\nj",k\nl,m\n'
    with source_of(tmp_path / "in", text) as given:
        assert [(line.number, line.fields) for line in read_csv(given, {})] == [
            (3, {"to": "a", "body": "b"}), (4, {"to": "c", "body": "d\ne"}),
            (6, {"to": "f", "body": "g"}), (7, {"input": 'h,"i\nj",k\n'}),
            (9, {"to": "l", "body": "m"}),
        ]  # fmt: skip


def test_a_line_of_the_greatest_length_is_read(tmp_path: Path) -> None:
    for more, words in ((0, ""), (1, f"the line has over {MAX_LINE} bytes")):
        text = b'{"to": "a", "body": "b"}'.ljust(MAX_LINE - 1 + more) + b"\n"
        with source_of(tmp_path / "in", text) as given:
            (line,) = read_json(given, {})
        assert line.trouble.startswith(words) and bool(line.trouble) is bool(words)


@pytest.mark.parametrize("word", ["1e999", "-1e999", "1e9999999999999999999999999999"])
def test_of_a_number_that_is_too_large_the_start_is_shown(tmp_path: Path, word: str) -> None:
    with source_of(tmp_path / "in", f'{{"to": "a", "n": {word}}}'.encode()) as given:
        (line,) = read_json(given, {})
    assert f"the number {word[:20]} is too large" in line.trouble


# -- What a line says of a message.


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"to": "a", "id": 7}, {"body": "all", "to": "a"}),
        ({"id": 7, "to": "a", "mine": None, "body": "b"}, {"to": "a", "body": "b"}),
        ({"from": None, "to": "a", "body": None, "destination": "c"},
         {"to": "a", "body": "all", "destination": "c"}),
        ({"to": "a", "from": "b", "variables": {"X": "1"}},
         {"to": "a", "body": "all", "from_": "b", "variables": [("X", "1")]}),
    ],
)  # fmt: skip
def test_a_line_is_a_mapping_of_arguments(
    fields: Dict[str, Any], arguments: Dict[str, Any]
) -> None:
    line = Line(1, fields, {"body": "all"})
    assert dict(line) == arguments
    assert len(line) == len(arguments) and set(line) == line.keys() == set(arguments)


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("To", "to"), (" body ", "body"), ("from_", "from"), ("FROM_", "from"),
        ("variable", "variables"), ("Variable_", "variables"), ("Variables", "variables"),
        ("id", None), ("too", None), ("toX", None), ("_to", None), ("sender", None),
    ],
)  # fmt: skip
def test_a_key_that_is_nearly_ours_is_refused(key: str, ours: Optional[str]) -> None:
    line = Line(1, {"to": "a", "body": "b", key: "c"}, {})
    if ours is None:
        assert line.keys() == {"to", "body"}
    else:
        with pytest.raises(LocalProtocolError, match=f"'{key}' is not known; write '{ours}'"):
            line.keys()
