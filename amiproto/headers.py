"""The headers of one stanza: ordered, repeated, matched without regard to case.

They stand alone because every message has them, and because here is the one place that says how a
line is split into name and value.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Tuple, TypeVar, Union

from ._text import is_encodable, to_bytes, to_exact_str, to_text

Pair = Tuple[str, str]
Pairs = Union["Headers", Mapping[str, str], Iterable[Pair]]
T = TypeVar("T")

#: Words that name a secret, or what proves one, wherever they stand in the name of a header
#: (``Secret``, ``MD5Secret``, ``Password``) or before the equals sign or colon of a setting in a
#: value (``Line-000000-000000: secret=...``, ``Variable: DB_PASSWORD=...``).
_SECRET_WORD = "secret|passw|passphrase|md5_?cred|credential|token|auth_?key|api_?key|private_?key"
_SECRET_NAME = re.compile(rf"(?i){_SECRET_WORD}|^(?:key|challenge|pin)$")
_SECRET_SETTING = re.compile(rf"(?i)(?:(?:{_SECRET_WORD})[^=:]*|\b(?:key|challenge|pin) *)[=:]")

#: What is shown in place of a secret.
REDACTED = "<redacted>"

#: A name that can be looked for as it stands; see :meth:`Headers.get`.
_WORDS = re.compile(r"[\w.-]+", re.ASCII)


class Headers:
    """The header lines of a stanza, in their order.

    ``headers["Name"]`` is the first value under that name, in any case (of ASCII letters, as for
    Asterisk); :meth:`get_all` gives every one. Iteration, :meth:`keys`, :meth:`values` and
    :meth:`items` go line by line, repeated names included, as those of
    :class:`email.message.Message` do. A line without a colon is kept under the empty name.
    Immutable, hashable; equal when the lines are, order and case included.

    :param lines: pairs of name and value, a mapping, other Headers; or a stanza as it stands on
        the wire (bytes), its lines ended by CR LF, its blank line included.
    :raises TypeError: when a name or value is not a str.

    >>> headers = Headers([("Output", "one"), ("Output", "two")])
    >>> headers["output"], headers.get_all("OUTPUT")
    ('one', ['one', 'two'])
    """

    # One of the two is always there. What is derived from _wire is kept with it: the items, and
    # the text as it stands and in lower case, for those who ask by name.
    __slots__ = ("_wire", "_items", "_text", "_lowered")

    def __init__(self, lines: Union[Pairs, bytes] = ()) -> None:
        self._wire: Optional[bytes] = None
        self._items: Optional[Tuple[Pair, ...]] = None
        self._text: Optional[str] = None
        self._lowered = ""
        if isinstance(lines, bytes):
            self._wire = lines
        else:
            pairs = to_exact_pairs(lines, "headers")
            self._items = tuple(
                [
                    (_normalize_surrogates(name), _normalize_surrogates(value))
                    for name, value in pairs
                ]
            )

    def items(self) -> Tuple[Pair, ...]:
        """Every line as (name, value), in order."""
        items = self._items
        if items is None:
            assert self._wire is not None
            items = self._items = _split_stanza(self._wire)
        return items

    def keys(self) -> List[str]:
        """The name of every line, in order, repeated where the header is."""
        return [name for name, _ in self.items()]

    def values(self) -> List[str]:
        """The value of every line, in order."""
        return [value for _, value in self.items()]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: T = None) -> Union[str, T]:  # type: ignore[assignment]
        """The first value under ``name`` (str), or ``default``."""
        # To split every line for the few that a program asks for would cost several times as
        # much as to look for them in the text. Only a name that can hold neither a colon, a
        # bracket nor a line end can be looked for like this.
        wire = self._wire
        if wire is None or not (name.isascii() and (name.isalnum() or _WORDS.fullmatch(name))):
            return next(iter(self.get_all(name)), default)
        text = self._text
        if text is None:
            text = self._text = "\r\n" + to_text(wire)
            self._lowered = _folded(text)
        start = self._lowered.find(f"\r\n{name.lower()}:")
        if start < 0:
            return default
        start += len(name) + 3
        if text[start] == " ":
            start += 1
        return text[start : text.find("\r\n", start)]

    def get_all(self, name: str) -> List[str]:
        """Every value under ``name``, in order; an empty list where there is none."""
        wanted = _folded(name)
        return [value for key, value in self.items() if _folded(key) == wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.items())

    def __eq__(self, other: object) -> bool:
        return self.items() == other.items() if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.items())

    def __reduce__(self) -> Tuple[Any, ...]:
        return Headers, (self.items(),)

    def __repr__(self) -> str:
        return f"Headers([{', '.join(f'({n!r}, {v!r})' for n, v in redact(self.items()))}])"


def split_line(line: str) -> Pair:
    """Split one line, without its end, into name and value.

    The name ends at the first colon, and one blank after the colon is no part of the value. A
    line without a colon has the empty name. Asterisk 11 writes ``ChanVariable(SIP/x:1-2): a=b``:
    a colon between brackets in the name ends no name, unless a blank comes after it.

    >>> split_line("Uniqueid: 1.2"), split_line("X:y"), split_line("no colon")
    (('Uniqueid', '1.2'), ('X', 'y'), ('', 'no colon'))
    """
    name, blank, value = line.partition(": ")
    if blank and ":" not in name:
        return name, value
    name, colon, value = line.partition(":")
    if not colon:
        return "", line
    if "(" in name and ")" not in name:
        end = line.find("):")
        if end != -1:
            name, value = line[: end + 1], line[end + 2 :]
    return name, value[1:] if value.startswith(" ") else value


def _split_stanza(wire: bytes) -> Tuple[Pair, ...]:
    """Name and value of each line of a stanza, its blank line left out."""
    items = []
    for line in to_text(wire).split("\r\n")[:-2]:
        name, blank, value = line.partition(": ")
        if blank and ":" not in name:
            items.append((name, value))
        else:
            items.append(split_line(line))
    return tuple(items)


def to_exact_pairs(lines: Pairs, argument: str) -> List[Pair]:
    """The pairs of a mapping, of Headers, or of an iterable of pairs, as plain str.

    :param argument: what the caller calls it, for the error.
    :raises TypeError: when it is none of these, or a name or value is no str.
    """
    items = getattr(lines, "items", None)
    pairs = lines if items is None else items()
    if not hasattr(pairs, "__iter__"):
        raise TypeError(f"{argument} takes a mapping or pairs, not {type(lines).__name__}")
    plain = []
    for pair in pairs:
        # A str of two characters would pass for a pair of them.
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{argument} takes pairs of name and value, not {type(pair).__name__}")
        name, value = pair
        if type(name) is not str or type(value) is not str:
            name = to_exact_str(name, f"a name in {argument}")
            value = to_exact_str(value, f"the value of {name!r} in {argument}")
        plain.append((name, value))
    return plain


def redact(items: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs, with the secrets in them replaced."""
    for name, value in items:
        if is_secret_name(name):
            yield name, REDACTED
            continue
        setting = _SECRET_SETTING.search(value)
        yield name, value if setting is None else value[: setting.end()] + REDACTED


def is_secret_name(name: str) -> bool:
    """Whether a header, a variable or a setting of that name is taken to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def _folded(name: str) -> str:
    """A name in lower case, as Asterisk compares them: only ASCII letters have a case."""
    if name.isascii():
        return name.lower()
    # bytes.lower() knows ASCII letters only, and leaves the length as it is.
    return name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _normalize_surrogates(text: str) -> str:
    """The text as it is read back: surrogates that happen to spell UTF-8 become characters.

    So what is built equals what the other side reads.
    """
    if text.isascii() or not is_encodable(text):
        return text
    return to_text(to_bytes(text))
