"""The headers of one stanza: ordered, repeated, matched without regard to case.

Apart from the messages because Action, Response, Event and Orphan all have them, and because the
line is where a name ends and a value begins, which is to be said in one place.
"""

from __future__ import annotations

from .text import to_bytes, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, TypeVar, Union

    Pair = Tuple[str, str]
    Pairs = Union["Headers", Mapping[str, str], Iterable[Pair]]
    T = TypeVar("T")
    _LineDict = Dict[str, Pair]
else:
    _LineDict = dict

#: Headers whose value is a secret, or proves one; never shown, never kept between messages.
SECRET_HEADERS = frozenset({"secret", "key", "challenge"})


def split_line(line: str) -> Pair:
    """Split one line, without its end, into name and value.

    The name ends at the first colon, and one blank behind the colon is no part of the value. A
    line without a colon has the empty name. Asterisk 11 writes ``ChanVariable(SIP/x:1-2): a=b``:
    a colon between brackets in the name ends no name.

    >>> split_line("Uniqueid: 1.2"), split_line("X:y"), split_line("no colon")
    (('Uniqueid', '1.2'), ('X', 'y'), ('', 'no colon'))
    """
    name, colon, value = line.partition(":")
    if not colon:
        return "", line
    if "(" in name and ")" not in name:
        end = line.find("):")
        if end > 0:
            name, value = line[: end + 1], line[end + 2 :]
    return name, value[1:] if value.startswith(" ") else value


class _LineCache(_LineDict):
    """Lines already split. Channel events repeat most of their lines, word for word, so that to
    look a line up costs half of splitting it. Bounded in lines and in characters; no secret in it.
    """

    __slots__ = ("_old",)
    MAX_LINES = 4096
    MAX_LINE_CHARACTERS = 128

    def __init__(self) -> None:
        #: The lines before these: those still in use come back from here when there is no room.
        self._old: Dict[str, Pair] = {}

    def __missing__(self, line: str) -> Pair:
        pair = self._old.get(line)
        if pair is None:
            name, blank, value = line.partition(": ")
            pair = (name, value)
            if not blank or ":" in name or "(" in name:
                pair = split_line(line)
            if len(line) > self.MAX_LINE_CHARACTERS or pair[0].lower() in SECRET_HEADERS:
                return pair
        if len(self) >= self.MAX_LINES:
            self._old = self.copy()
            self.clear()
        self[line] = pair
        return pair


#: Name and value of a line as it came, without its end: :func:`split_line` with a memory.
pair_of_line = _LineCache().__getitem__


class Headers:
    """The header lines of a stanza, in their order.

    ``headers["Name"]`` is the first value under that name, in any case; :meth:`get_all` gives
    every one. Iteration, :meth:`keys`, :meth:`values` and :meth:`items` go line by line, repeated
    names included, as those of :class:`email.message.Message` do. A line without a colon is kept
    under the empty name. Immutable, hashable; equal when the lines are, order and case included.

    :param lines: pairs of name and value, a mapping, or other Headers.
    :raises TypeError: when a name or value is not a str.

    >>> headers = Headers([("Output", "one"), ("Output", "two")])
    >>> headers["output"], headers.get_all("OUTPUT")
    ('one', ['one', 'two'])
    """

    __slots__ = ("_items", "_index")

    def __init__(self, lines: Pairs = ()) -> None:
        self._items = tuple([(_checked(name), _checked(value)) for name, value in pairs_of(lines)])
        self._index: Optional[Dict[str, str]] = None

    def items(self) -> Tuple[Pair, ...]:
        """Every line as (name, value), in order."""
        return self._items

    def keys(self) -> List[str]:
        """The name of every line, in order, repeated where the header is."""
        return [name for name, _ in self._items]

    def values(self) -> List[str]:
        """The value of every line, in order."""
        return [value for _, value in self._items]

    def __getitem__(self, name: str) -> str:
        index = self._index
        if index is None:
            # Backwards, so that the first of several lines stays.
            index = self._index = {key.lower(): value for key, value in reversed(self._items)}
        return index[name.lower()]

    def get(self, name: str, default: T = None) -> Union[str, T]:  # type: ignore[assignment]
        """The first value under ``name`` (str), or ``default``."""
        try:
            return self[name]
        except KeyError:
            return default

    def get_all(self, name: str) -> List[str]:
        """Every value under ``name``, in order; an empty list where there is none."""
        wanted = name.lower()
        return [value for key, value in self._items if key.lower() == wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __reduce__(self) -> Tuple[Any, ...]:
        return Headers, (self._items,)

    def __repr__(self) -> str:
        return f"Headers([{', '.join(f'({n!r}, {v!r})' for n, v in redacted(self._items))}])"


def pairs_of(lines: Pairs) -> Iterable[Pair]:
    """The pairs of a mapping, of Headers, or of an iterable of pairs."""
    items = getattr(lines, "items", None)
    return lines if items is None else items()  # type: ignore[return-value]


def redacted(items: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs, with what is secret in them replaced."""
    for name, value in items:
        yield name, "<redacted>" if name.lower() in SECRET_HEADERS else value


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"headers hold str, not {type(text).__name__}")
    if text.isascii():
        return text
    # Lone surrogates that happen to spell UTF-8 become the characters they spell, so that what is
    # built equals what the other side reads.
    try:
        return to_text(to_bytes(text))
    except UnicodeEncodeError:
        return text
