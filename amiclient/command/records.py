"""The lines of a batch: each a message, or the reason why it is none, and what it said.

The bytes of a batch by lines, bounded, and without a wait that a signal cannot end.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from math import isinf
from typing import Any, Dict, Iterator, KeysView, List, Optional, Tuple

from amiproto import FAILED, NOT_SENT, LocalProtocolError
from amiproto.headers import to_exact_pairs

from .options import DATA, NO_INPUT, CommandError
from .signals import Signals

#: The keys of a line that make the message, and the arguments that they are.
_ARGUMENTS = {
    "to": "to", "body": "body", "from": "from_", "variables": "variables",
    "destination": "destination",
}  # fmt: skip

#: How a column of CSV starts that is a variable of the message.
_VARIABLE = "variable:"

#: What a lone surrogate, and so a byte that is no UTF-8, looks like after decoding.
_NO_TEXT = re.compile("[\ud800-\udfff]")

_BOM = b"\xef\xbb\xbf"


class Line(Mapping):  # type: ignore[type-arg]  # not a subscript before Python 3.9
    """One line of the input: a mapping of the arguments of ``send_message``, or raises why not.

    It is read where the client builds the message, so that a bad line is a message that is
    refused, in its place among the others.

    :ivar int number: the number of its first line in the file.
    :ivar fields: what it said, and is written with what became of it (dict).
    :ivar str trouble: why it is no message, empty where it may be one.
    """

    def __init__(
        self, number: int, fields: Dict[str, Any], defaults: Mapping[str, Any], trouble: str = ""
    ) -> None:
        self.number = number
        self.fields = fields
        self._defaults = defaults
        self.trouble = trouble
        self._read: Optional[Dict[str, Any]] = None

    def __getitem__(self, name: str) -> Any:
        return self._arguments()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments())

    def __len__(self) -> int:
        return len(self._arguments())

    def keys(self) -> KeysView[str]:
        """The names of the arguments; the inherited one takes three times as long."""
        return self._arguments().keys()

    def _arguments(self) -> Dict[str, Any]:
        if self._read is None:
            if self.trouble:
                raise LocalProtocolError(self.trouble)
            self._read = self._checked()
        return self._read

    def _checked(self) -> Dict[str, Any]:
        fields = self.fields
        found = dict(self._defaults)
        for key in fields:
            name = _ARGUMENTS.get(key)
            if name is None:
                _reject_misspelled(key)
                continue
            value = fields[key]
            if value is None:  # as it is written by programs that have nothing to say
                continue
            if key == "variables":
                value = _variables(value)
            elif not isinstance(value, str):
                raise LocalProtocolError(f"{key!r} is no text; write it in quotes")
            found[name] = value
        for key in ("to", "body"):
            if key not in found:
                raise LocalProtocolError(f"there is no {key!r}; give one")
        return found


def read_json(source: Source, defaults: Mapping[str, Any]) -> Iterator[Line]:
    """The lines of a file of JSON Lines; blank ones hold nothing and are passed over."""
    decode = json.JSONDecoder(
        object_pairs_hook=_reject_duplicate_keys,
        parse_constant=_reject_constant,
        parse_float=_finite,
    ).decode
    for number, text in _texts(source):
        if not text.strip():
            continue
        trouble = _trouble_with(text)
        fields: Dict[str, Any] = {"input": text}
        if not trouble:
            try:
                value = decode(text)
            except (ValueError, RecursionError) as error:
                trouble = f"this is no JSON: {error}; write one object in each line"
            else:
                if isinstance(value, dict):
                    fields = value
                else:
                    trouble = "this is no JSON object; write one in each line"
        yield Line(number, fields, defaults, trouble)


def read_csv(source: Source, defaults: Mapping[str, Any]) -> Iterator[Line]:
    """The rows of a CSV file whose first names the columns; an empty cell says nothing.

    :raises Problem: when two columns have one name.
    """
    taken: List[str] = []
    number = 0  # of the last line that was read

    def lines() -> Iterator[str]:
        nonlocal number
        for number, text in _texts(source):
            taken.append(text)
            yield text

    rows = csv.reader(lines(), strict=True)
    header: Optional[List[str]] = None
    while True:
        taken.clear()
        first = number + 1
        cells: List[str] = []
        trouble = ""
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            trouble = f"this is no row of CSV: {error}"
        text = "".join(taken)
        trouble = _trouble_with(text) or trouble
        if not cells and not trouble:
            continue
        if header is None:
            if trouble:
                raise CommandError(DATA, f"line {first}: {trouble}")
            header = [name.strip() for name in cells]
            if len(set(header)) < len(header):
                raise CommandError(DATA, f"line {first}: two columns have one name; rename one")
            continue
        if not trouble and len(cells) != len(header):
            trouble = f"the row has {len(cells)} cells and the first has {len(header)}"
        fields = {"input": text} if trouble else _row(header, cells)
        yield Line(first, fields, defaults, trouble)


def select_for_retry(line: Line) -> Optional[Line]:
    """A line of an earlier account where it is to go again, None where it is not.

    One that tells of no earlier time is a bad line: to pass it over would lose it.
    """
    fields = line.fields
    if line.trouble:
        return line
    if "outcome" not in fields:
        return Line(line.number, fields, {}, "it has no 'outcome'; give this file to --batch")
    may = fields["outcome"] in (NOT_SENT, FAILED) and fields.get("retryable") is True
    return line if may else None


def _texts(source: Source) -> Iterator[Tuple[int, str]]:
    number = 0
    while True:
        data = source.read_line()
        if not data:
            return
        number += 1
        if number == 1 and data.startswith(_BOM):  # as spreadsheets write it
            data = data[len(_BOM) :]
        yield number, data.decode("utf-8", "surrogateescape")


def _trouble_with(text: str) -> str:
    if len(text) > MAX_LINE:
        return f"the line has over {MAX_LINE} bytes, and no message has so many"
    if _NO_TEXT.search(text):
        return "the line is not UTF-8; write it so"
    return ""


def _row(header: List[str], cells: List[str]) -> Dict[str, Any]:
    fields: Dict[str, Any] = {}
    variables: Dict[str, str] = {}
    for name, cell in zip(header, cells):
        if name.startswith(_VARIABLE):
            if cell:
                variables[name[len(_VARIABLE) :].strip()] = cell
        elif cell or name not in _ARGUMENTS:
            fields[name] = cell
    if variables:
        fields["variables"] = variables
    return fields


def _variables(value: Any) -> List[Tuple[str, str]]:
    try:
        return to_exact_pairs(value, "variables")
    except TypeError:
        raise LocalProtocolError(
            '\'variables\' is no object of texts; write {"X-Name": "value"}'
        ) from None


def _reject_misspelled(key: str) -> None:
    # A key of the caller's own is passed on. One that is nearly ours would be lost.
    plain = key.strip().rstrip("_").lower()
    for name in (plain, plain + "s"):
        if name in _ARGUMENTS:
            raise LocalProtocolError(f"{key!r} is not known; write {name!r}")


def _reject_duplicate_keys(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _reject_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    if isinf(number):
        raise ValueError(f"the number {word[:20]} is too large")
    return number


#: Most bytes of a line that are kept; a message has some thousand.
MAX_LINE = 1024 * 1024

#: Seconds that the end of the input is waited for after a signal: what a program on the other side
#: of a pipe writes later was never given to this one.
_GRACE = 0.5

#: Only POSIX systems tell of a pipe or a terminal whether there is something to read.
_CAN_WAIT = os.name == "posix"

_CHUNK = 64 * 1024


class Source:
    """A file, a pipe or a terminal, read by lines.

    :param descriptor: its descriptor (int); it stays the caller's.
    :param interrupts: what ends a wait.

    Each method raises :class:`CommandError` when it cannot be read.
    """

    def __init__(self, descriptor: int, interrupts: Signals) -> None:
        self._descriptor = descriptor
        self._interrupts = interrupts
        self._buffer = bytearray()
        self._took_end = False
        #: Whether there is nothing more to read.
        self.ended = False
        #: Bytes read so far (int).
        self.position = 0

    def has_line(self) -> bool:
        """Whether :meth:`read_line` gives a line, or the end, without a wait."""
        while self._is_short():
            if not self._is_readable(0.0):
                return False
            self._fill()
        return True

    def wait(self) -> None:
        """Wait until there is something to read, or a signal came."""
        self._is_readable(None)

    def read_line(self) -> bytes:
        """The next line with its end (bytes), empty at the end of the input.

        Of a line over MAX_LINE only so many bytes and one more are given.
        """
        line = self._take()
        while line and not self._took_end and not self.ended:
            self._take()
        return line

    def _take(self) -> bytes:
        """Drop what is there of a line, or wait for it; give its first bytes."""
        while self._is_short():
            if self._is_readable(None) or self._is_readable(_GRACE):
                self._fill()
            else:
                self.ended = True
        end = self._buffer.find(b"\n")
        self._took_end = end != -1
        size = end + 1 if self._took_end else len(self._buffer)
        line = bytes(self._buffer[: min(size, MAX_LINE + 1)])
        del self._buffer[:size]
        return line

    def _is_short(self) -> bool:
        """Whether there is less than a line, and more can come."""
        return not self.ended and b"\n" not in self._buffer and len(self._buffer) <= MAX_LINE

    def _fill(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except OSError as error:
            raise CommandError(NO_INPUT, f"the input cannot be read: {error}") from error
        self.ended = not data
        self.position += len(data)
        self._buffer += data

    def _is_readable(self, seconds: Optional[float]) -> bool:
        """Whether there are bytes or an end to read; waits so long, and no longer for a signal."""
        if not _CAN_WAIT:
            return True
        from select import select

        wake = self._interrupts.wake
        watched: List[Any] = [self._descriptor]
        if wake is not None and seconds is None:
            watched.append(wake)
        return self._descriptor in select(watched, [], [], seconds)[0]
