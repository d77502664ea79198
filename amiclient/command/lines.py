"""The lines of a batch: each a message, or the reason why it is none, and what it said."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from math import isinf

from amiproto import NOT_SENT, REFUSED, LocalProtocolError
from amiproto.headers import plain_pairs

from .exits import DATA, Problem
from .source import MAX_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, KeysView, List, Optional, Tuple

    from .source import Source

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
                _refuse_misspelt(key)
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
        object_pairs_hook=_no_key_twice, parse_constant=_no_number, parse_float=_finite
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
                raise Problem(DATA, f"line {first}: {trouble}")
            header = [name.strip() for name in cells]
            if len(set(header)) < len(header):
                raise Problem(DATA, f"line {first}: two columns have one name; rename one")
            continue
        if not trouble and len(cells) != len(header):
            trouble = f"the row has {len(cells)} cells and the first has {len(header)}"
        fields = {"input": text} if trouble else _row(header, cells)
        yield Line(first, fields, defaults, trouble)


def again(line: Line) -> Optional[Line]:
    """A line of an earlier account where it is to go again, None where it is not.

    One that tells of no earlier time is a bad line: to pass it over would lose it.
    """
    fields = line.fields
    if line.trouble:
        return line
    if "outcome" not in fields:
        return Line(line.number, fields, {}, "it has no 'outcome'; give this file to --batch")
    may = fields["outcome"] in (NOT_SENT, REFUSED) and fields.get("retryable") is True
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
        return plain_pairs(value, "variables")
    except TypeError:
        raise LocalProtocolError(
            "'variables' is no object of texts; write {\"X-Name\": \"value\"}"
        ) from None


def _refuse_misspelt(key: str) -> None:
    # A key of the caller's own is passed on. One that is nearly ours would be lost.
    plain = key.strip().rstrip("_").lower()
    for name in (plain, plain + "s"):
        if name in _ARGUMENTS:
            raise LocalProtocolError(f"{key!r} is not known; write {name!r}")


def _no_key_twice(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    if isinf(number):
        raise ValueError(f"the number {word[:20]} is too large")
    return number
