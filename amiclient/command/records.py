"""Read the input of a batch from a file or pipe: lines of JSON or CSV, each of them a message."""

from __future__ import annotations

import csv
import json
import os
import re
import select
from io import FileIO
from itertools import chain
from math import isfinite
from stat import S_ISREG
from time import monotonic
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from amiproto import LocalProtocolError, MessageSend
from amiproto.messaging import field_keys

from .options import CommandError, Exit
from .signals import Signals

#: Limit for a line in bytes; a message has a few thousand at most.
MAX_LINE = 1024 * 1024

#: Seconds of a wait for input after which signals are checked.
_POLL_INTERVAL = 0.1

#: Seconds after a signal in which the rest of a file is read: enough for 100,000 lines.
MAX_DRAIN = 5.0

#: A lone surrogate: decoding gives one for each byte that is not UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")

#: The keys of a JSON object, or columns of CSV, that make up the message, and their arguments.
_KEYS = field_keys()

#: The prefix of a CSV column for one variable.
_VARIABLE = "variable:"


class LineReader:
    """Reads lines from a file, pipe or terminal, with bounded memory.

    After a signal a file is read to its end, so that every line gets a result, or for MAX_DRAIN
    seconds. From a pipe or a terminal, which may never end, no more is read. An incomplete line is
    dropped.
    """

    def __init__(self, file: FileIO, signals: Signals) -> None:
        self._file = file
        self._signals = signals
        self._buffer = bytearray()
        # Windows cannot wait for a pipe.
        self._can_wait = os.name == "posix" and not S_ISREG(os.fstat(file.fileno()).st_mode)
        self._ended = False
        #: Whether reading was stopped by a signal.
        self.is_cut = False

    def fill(self, wait: bool) -> bool:
        """Read until there is a line or the end of the input.

        :return: False if there is neither yet; with ``wait``, always True.
        :raises CommandError: if reading fails.
        """
        timeout = _POLL_INTERVAL if wait else 0.0
        while not self._ended and b"\n" not in self._buffer and len(self._buffer) <= MAX_LINE:
            if monotonic() >= self._signals.time + (0.0 if self._can_wait else MAX_DRAIN):
                self._ended = self.is_cut = True
                self._buffer.clear()
            # In steps, because a signal between the check and select() does not end select().
            elif self._can_wait and not select.select([self._file], [], [], timeout)[0]:
                if not wait:
                    return False
            else:
                try:
                    data = self._file.read(64 * 1024)
                except OSError as error:
                    raise CommandError(Exit.NOINPUT, f"cannot read the input: {error}") from error
                self._ended = not data
                self._buffer += data
        return True

    def read_line(self) -> bytes:
        """Return the next line with its line end (bytes); empty at the end of the input.

        A line over MAX_LINE bytes is cut to MAX_LINE + 1.
        """
        line = b""
        while True:
            self.fill(wait=True)
            end = self._buffer.find(b"\n") + 1
            size = end or len(self._buffer)
            line = line or bytes(self._buffer[: min(size, MAX_LINE + 1)])
            del self._buffer[:size]
            if end or not size:
                return line


class Record(NamedTuple):
    """One line of JSON or row of CSV.

    :ivar int number: the number of its first line, from 1.
    :ivar str text: the line, or all lines of the row, with the line end.
    :ivar fields: its content, copied to the output (dict).
    :ivar str problem: why it is not an object or row; empty if it is.
    """

    number: int
    text: str
    fields: Dict[str, Any]
    problem: str = ""

    def message(self, defaults: Mapping[str, Any]) -> MessageSend:
        """Return the message that the record describes.

        :param defaults: arguments of the message for keys that are missing or null.
        :raises LocalProtocolError: if the record is invalid, or the message cannot be sent exactly.
        """
        problem, arguments = self.problem, dict(defaults)
        for key, value in self.fields.items():
            name = _KEYS.get(key)
            if name is None:
                problem = problem or _misspelling(key)
            elif value is not None:
                arguments[name] = value
                if name != "variables" and not isinstance(value, str):
                    problem = problem or f"{key!r} must be a string"
        missing = [f"missing {key!r}" for key in ("to", "body") if key not in arguments]
        if problem or missing:
            raise LocalProtocolError(problem or missing[0])
        try:
            return MessageSend(**arguments)
        except TypeError:
            raise LocalProtocolError("'variables' must be an object of strings") from None


def _misspelling(key: str) -> str:
    # Other keys are kept for the caller. A misspelled one would silently change the message.
    plain, colon, _ = key.partition(":")
    plain = plain.strip().rstrip("_").lower()
    if plain.startswith("variable") and (colon or plain == "variable"):
        return f"unknown key {key!r}; use 'variable:NAME' in CSV, or 'variables' in JSON"
    return f"unknown key {key!r}; did you mean {plain!r}?" if plain in _KEYS and not colon else ""


def read_records(reader: LineReader, is_output: bool) -> Iterator[Record]:
    """Yield the records of a file of JSON Lines or CSV, whichever its first line is.

    :param is_output: whether the file is the output of an earlier batch, which is JSON.
    :raises CommandError: if the first line is neither a JSON object nor a header of CSV.
    """
    lines = _decoded_lines(reader)
    for number, text in lines:
        if text.strip():  # blank lines are skipped
            is_json = is_output or text.lstrip().startswith("{")
            records = (_read_json if is_json else _read_csv)(chain([(number, text)], lines))
            # After a signal the input may end in the middle of a row.
            yield from (record for record in records if not (reader.is_cut and record.problem))


def _read_json(lines: Iterator[Tuple[int, str]]) -> Iterator[Record]:
    decode = json.JSONDecoder(
        object_pairs_hook=_reject_duplicate_keys,
        parse_constant=_finite_number,
        parse_float=_finite_number,
    ).decode
    for number, text in lines:
        if not text.strip():
            continue
        value, problem = None, _check_text(text)
        try:
            value = problem or decode(text)
        except json.JSONDecodeError as error:
            problem = f"invalid JSON at column {error.colno}"
        except RecursionError:
            problem = "invalid JSON: too many brackets"
        except ValueError as error:  # of a function below
            problem = f"invalid JSON: {error}"
        if isinstance(value, dict):
            yield Record(number, text, value)
        else:
            yield Record(number, text, {"input": text}, problem or "expected a JSON object")


def _read_csv(lines: Iterator[Tuple[int, str]]) -> Iterator[Record]:
    """Yield the records of a CSV file. An empty cell of a message field is a missing field."""
    row_lines: List[str] = []
    number, text = next(lines)
    delimiter = next((char for char in re.sub('"[^"]*"', "", text) if char in ",;\t"), ",")
    if re.match(r'(?i)sep=([^"\w\s]|\t)\s*$', text):  # for Excel
        delimiter = text[4]
    else:
        lines = chain([(number, text)], lines)

    def texts() -> Iterator[str]:
        nonlocal number
        for number, text in lines:
            row_lines.append(text)
            yield text

    rows = csv.reader(texts(), delimiter=delimiter, strict=True)
    header: List[str] = []
    while True:
        row_lines.clear()
        cells: List[str] = []
        problem = ""
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            problem = (
                "invalid CSV: an open quote, text after a quoted cell, or a line end of CR only"
            )
        text = "".join(row_lines)
        problem = _check_text(text) or problem
        first = number - len(row_lines) + 1
        if not header:
            header = [name.strip() for name in cells]
            problem = problem or _check_header(header)
            if problem:
                raise CommandError(Exit.DATAERR, f"line {first}: {problem}")
        elif any(cells) or problem:  # Excel writes rows of empty cells
            if not problem and len(cells) != len(header):
                noun = "cell" if len(cells) == 1 else "cells"
                problem = f"{len(cells)} {noun}, the header has {len(header)}"
            fields = {"input": text} if problem else _row_fields(header, cells)
            yield Record(first, text, fields, problem)


def _check_header(header: List[str]) -> str:
    """Return the fault in the names of the columns; empty if they are valid."""
    if "to" not in header:
        return "expected a JSON object, or a CSV header with the columns 'to' and 'body'"
    if len({re.sub(r":\s+", ":", name) for name in header}) < len(header):
        return "duplicate column"
    if "variables" in header:
        return "a variable needs a column 'variable:NAME', not 'variables'"
    others = [name for name in header if name not in _KEYS and not name.startswith(_VARIABLE)]
    return next(filter(None, map(_misspelling, others)), "")


def _row_fields(header: List[str], cells: List[str]) -> Dict[str, Any]:
    fields: Dict[str, Any] = {}
    for name, cell in zip(header, cells):
        if name.startswith(_VARIABLE) and cell:
            fields.setdefault("variables", {})[name[len(_VARIABLE) :].strip()] = cell
        elif not name.startswith(_VARIABLE) and (cell or name not in _KEYS):
            fields[name] = cell
    return fields


def _decoded_lines(reader: LineReader) -> Iterator[Tuple[int, str]]:
    for number, data in enumerate(iter(reader.read_line, b""), 1):
        encoding = "utf-8-sig" if number == 1 else "utf-8"  # spreadsheet programs write a BOM
        yield number, data.decode(encoding, "surrogateescape")


def _check_text(text: str) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > MAX_LINE:
        return f"line exceeds {MAX_LINE} bytes"
    if _SURROGATE.search(text):
        return "not UTF-8; save the file as UTF-8 (Excel: CSV UTF-8)"
    return ""


def _reject_duplicate_keys(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key in object")
    return found


def _finite_number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number
