"""Read the input of a batch from a file or pipe: lines of JSON or CSV, each of them a message."""

from __future__ import annotations

import csv
import json
import os
import re
from math import isinf
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from amiproto import LocalProtocolError, MessageSend
from amiproto.headers import to_exact_pairs
from amiproto.messaging import field_keys

from .options import EX_DATAERR, EX_NOINPUT, CommandError
from .signals import Signals

#: Limit for a line in bytes; a message has a few thousand at most.
MAX_LINE = 1024 * 1024

#: Seconds to wait for more input after a signal. They are for the rest of a line whose start was
#: read, and for a program at the other end of a pipe that is just writing.
GRACE_PERIOD = 0.5

#: Whether the system can wait for input from a pipe or terminal.
CAN_WAIT = os.name == "posix"

_CHUNK = 64 * 1024

_BOM = b"\xef\xbb\xbf"

#: A lone surrogate: decoding gives one for each byte that is not UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")

#: The keys of a JSON object, or columns of CSV, that make up the message, and their arguments.
_KEYS = field_keys()

#: The prefix of a CSV column for one variable.
_VARIABLE = "variable:"


class LineReader:
    """Reads lines from a descriptor, with bounded memory.

    :param descriptor: of a file, pipe or terminal (int); the caller closes it.
    :param signals: a signal ends a wait for input.

    Each method raises :class:`CommandError` if reading fails.
    """

    def __init__(self, descriptor: int, signals: Signals) -> None:
        self._descriptor = descriptor
        self._signals = signals
        self._buffer = bytearray()
        #: Whether the end of the input was reached.
        self.ended = False
        #: Number of bytes read (int).
        self.position = 0

    def has_line(self) -> bool:
        """Return True if :meth:`read_line` will return a line, or the end, without waiting."""
        while self._needs_data():
            if not self._is_readable(0.0):
                return False
            self._read_chunk()
        return True

    def wait(self) -> None:
        """Wait for input or for a signal."""
        self._is_readable(None)

    def read_line(self) -> bytes:
        """Return the next line with its line end (bytes); empty at the end of the input.

        A line over MAX_LINE bytes is cut to MAX_LINE + 1.
        """
        line, is_complete = self._pop_piece()
        more = line
        while more and not is_complete:
            more, is_complete = self._pop_piece()
        return line

    def _pop_piece(self) -> Tuple[bytes, bool]:
        """Remove a line, or MAX_LINE bytes or more of it, from the buffer.

        :return: the first MAX_LINE + 1 bytes, and whether the line end was among the removed.
        """
        while self._needs_data():
            if self._is_readable(None) or self._is_readable(GRACE_PERIOD):
                self._read_chunk()
            else:
                self.ended = True
        size = self._buffer.find(b"\n") + 1
        is_complete = size > 0
        size = size or len(self._buffer)
        piece = bytes(self._buffer[: min(size, MAX_LINE + 1)])
        del self._buffer[:size]
        return piece, is_complete

    def _needs_data(self) -> bool:
        return not self.ended and b"\n" not in self._buffer and len(self._buffer) <= MAX_LINE

    def _read_chunk(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except OSError as error:
            raise CommandError(EX_NOINPUT, f"cannot read the input: {error}") from error
        self.ended = not data
        self.position += len(data)
        self._buffer += data

    def _is_readable(self, seconds: Optional[float]) -> bool:
        """Wait for input, and return whether there is any.

        :param seconds: the longest wait (float); None waits until a signal.
        """
        if not CAN_WAIT:
            return True
        from select import select

        watched: List[Any] = [self._descriptor]
        if self._signals.wake is not None and seconds is None:
            watched.append(self._signals.wake)
        return self._descriptor in select(watched, [], [], seconds)[0]


class Record(NamedTuple):
    """One line of JSON or row of CSV.

    :ivar int number: the number of its first line, from 1.
    :ivar fields: its content, copied to the output (dict).
    :ivar str problem: why it is not an object or row; empty if it is.
    """

    number: int
    fields: Dict[str, Any]
    problem: str = ""

    def message(self, defaults: Mapping[str, Any]) -> MessageSend:
        """Return the message that the record describes.

        :param defaults: arguments of the message for keys that are missing or null.
        :raises LocalProtocolError: if the record is invalid, or the message cannot be sent exactly.
        """
        if self.problem:
            raise LocalProtocolError(self.problem)
        arguments = dict(defaults)
        for key, value in self.fields.items():
            name = _KEYS.get(key)
            if name is None:
                _check_spelling(key)
            elif value is not None:
                arguments[name] = _check_value(key, value)
        for key in ("to", "body"):
            if key not in arguments:
                raise LocalProtocolError(f"missing {key!r}")
        return MessageSend(**arguments)


def _check_value(key: str, value: Any) -> Any:
    if key == "variables":
        try:
            return to_exact_pairs(value, key)
        except TypeError:
            raise LocalProtocolError(f"{key!r} must be an object with string values") from None
    if not isinstance(value, str):
        raise LocalProtocolError(f"{key!r} must be a string")
    return value


def _check_spelling(key: str) -> None:
    # Other keys are kept for the caller. A misspelled one would silently change the message.
    plain = key.strip().rstrip("_").lower()
    for known in (plain, plain + "s"):
        if known in _KEYS:
            raise LocalProtocolError(f"unknown key {key!r}; did you mean {known!r}?")


def read_json(reader: LineReader) -> Iterator[Record]:
    """Yield the records of a file of JSON Lines; blank lines are skipped."""
    decode = json.JSONDecoder(
        object_pairs_hook=_reject_duplicate_keys,
        parse_constant=_reject_constant,
        parse_float=_reject_infinity,
    ).decode
    for number, text in _decoded_lines(reader):
        if not text.strip():
            continue
        problem = _check_text(text)
        value: Any = None
        if not problem:
            try:
                value = decode(text)
            except json.JSONDecodeError as error:
                problem = f"invalid JSON: {error.msg} at column {error.colno}"
            except (ValueError, RecursionError) as error:
                problem = f"invalid JSON: {error}"
            else:
                if isinstance(value, dict):
                    yield Record(number, value)
                    continue
                problem = "expected a JSON object"
        yield Record(number, {"input": text}, problem)


def read_csv(reader: LineReader) -> Iterator[Record]:
    """Yield the records of a CSV file, whose first row names the columns.

    An empty cell of a message field is a missing field.

    :raises CommandError: if the first row is invalid.
    """
    row_lines: List[str] = []
    number = 0  # of the last line read

    def lines() -> Iterator[str]:
        nonlocal number
        for number, text in _decoded_lines(reader):
            row_lines.append(text)
            yield text

    rows = csv.reader(lines(), strict=True)
    header: Optional[List[str]] = None
    while True:
        row_lines.clear()
        first = number + 1
        cells: List[str] = []
        problem = ""
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"invalid CSV: {error}"
        text = "".join(row_lines)
        problem = _check_text(text) or problem
        if not cells and not problem:
            continue
        if header is None:
            header = [name.strip() for name in cells]
            if len(set(header)) < len(header):
                problem = "duplicate column name"
            if problem:
                raise CommandError(EX_DATAERR, f"line {first}: {problem}")
            continue
        if not problem and len(cells) != len(header):
            problem = f"row has {len(cells)} cells; the header has {len(header)}"
        if problem:
            yield Record(first, {"input": text}, problem)
        else:
            yield Record(first, _row_fields(header, cells))


def _row_fields(header: List[str], cells: List[str]) -> Dict[str, Any]:
    fields: Dict[str, Any] = {}
    variables: Dict[str, str] = {}
    for name, cell in zip(header, cells):
        if name.startswith(_VARIABLE):
            if cell:
                variables[name[len(_VARIABLE) :].strip()] = cell
        elif cell or name not in _KEYS:
            fields[name] = cell
    if variables:
        fields["variables"] = variables
    return fields


def _decoded_lines(reader: LineReader) -> Iterator[Tuple[int, str]]:
    number = 0
    while True:
        data = reader.read_line()
        if not data:
            return
        number += 1
        if number == 1 and data.startswith(_BOM):  # spreadsheet programs write one
            data = data[len(_BOM) :]
        yield number, data.decode("utf-8", "surrogateescape")


def _check_text(text: str) -> str:
    if len(text) > MAX_LINE:
        return f"line exceeds {MAX_LINE} bytes"
    if _SURROGATE.search(text):
        return "line is not valid UTF-8"
    return ""


def _reject_duplicate_keys(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key in object")
    return found


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _reject_infinity(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"number {text[:20]} is too large")
    return number
