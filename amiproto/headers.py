"""The headers of a stanza, how a line is split into name and value, and redaction of secrets."""

from __future__ import annotations

import re
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Tuple, TypeVar, Union

from ._text import is_encodable, to_bytes, to_exact_str, to_text
from .exceptions import quote

Pair = Tuple[str, str]
T = TypeVar("T")

#: Words for a secret or a proof of one, anywhere in a header name (``Secret``, ``MD5Secret``,
#: ``Password``), or in the name of a setting within a value (``Line-000000-000000: secret=...``,
#: ``Variable: DB_PASSWORD=...``).
_SECRET_WORD = "secret|passw|passphrase|md5_?cred|credential|token|auth_?key|api_?key|private_?key"
_SECRET_NAME = re.compile(rf"(?i){_SECRET_WORD}|^(?:key|challenge|pin)$")
_SECRET_SETTING = re.compile(rf"(?i){_SECRET_WORD}|\b(?:key|challenge|pin) *\Z")
_SEPARATOR = re.compile("[=:]")

#: The replacement for a secret.
REDACTED = "<redacted>"

#: A header name that :meth:`Headers.get` can search for in the text.
_WORDS = re.compile(r"[\w.-]+", re.ASCII)


class Headers:
    """The header lines of a stanza, in order.

    ``headers["Name"]`` returns the first value of that name. Names are compared without case (of
    ASCII letters only, as Asterisk does). :meth:`get_all` returns all values of a name. Iteration,
    :meth:`keys`, :meth:`values` and :meth:`items` go line by line, with repeated names, as those of
    :class:`email.message.Message` do. The name of a line without a colon is empty. Headers are
    immutable and hashable, and compare equal if all lines are equal, including order and case.

    :param lines: pairs of name and value, a mapping, other Headers; or the bytes of a stanza whose
        lines end in CR LF, with its blank line.
    :raises TypeError: for other objects, and if a name or value is not a str.

    >>> headers = Headers([("Output", "one"), ("Output", "two")])
    >>> headers["output"], headers.get_all("OUTPUT")
    ('one', ['one', 'two'])
    """

    # At least one of _text and _items is set. _items and _lowered, which is a line end and _text in
    # lower case, are computed when first needed.
    __slots__ = ("_text", "_items", "_lowered")

    def __init__(self, lines: Union[Pairs, bytes] = ()) -> None:
        self._lowered = ""
        self._items: Optional[Tuple[Pair, ...]] = None
        if isinstance(lines, bytes):
            self._text = lines.decode("utf-8", "surrogateescape")
            return
        self._text = ""
        pairs = to_exact_pairs(lines, "headers")
        self._items = tuple(
            [(_normalize_surrogates(name), _normalize_surrogates(value)) for name, value in pairs]
        )

    def items(self) -> Tuple[Pair, ...]:
        """Return the (name, value) pair of each line, in order."""
        items = self._items
        if items is None:
            lines = self._text.split("\r\n")
            # The blank line is CR LF, or LF alone.
            items = self._items = tuple(_split_lines(lines[: -1 if lines[-1] else -2]))
        return items

    def keys(self) -> List[str]:
        """Return the name of each line, in order."""
        return [name for name, _ in self.items()]

    def values(self) -> List[str]:
        """Return the value of each line, in order."""
        return [value for _, value in self.items()]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: T = None) -> Union[str, T]:  # type: ignore[assignment]
        """Return the first value of the name (str), or the default."""
        # Searching the text is several times faster than splitting all lines. It is possible only
        # for names without a colon, a bracket or a line end.
        text = self._text
        if not (text and name.isascii() and (name.isalnum() or _WORDS.fullmatch(name))):
            return next(iter(self.get_all(name)), default)
        lowered = self._lowered
        if not lowered:
            lowered = self._lowered = "\r\n" + (text.lower() if text.isascii() else _lower(text))
        start = lowered.find(f"\r\n{name.lower()}:")
        if start < 0:
            return default
        start += len(name) + 1
        end = text.find("\r\n", start)
        return text[start + 1 : end] if text[start] == " " else text[start:end]

    def get_all(self, name: str) -> List[str]:
        """Return all values of the name, in order; an empty list if there are none."""
        lowered = _lower(name)
        return [value for key, value in self.items() if _lower(key) == lowered]

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
        return f"Headers([{', '.join(f'({n!r}, {v!r})' for n, v in redacted(self))}])"


#: Names and values as callers may give them.
Pairs = Union[Headers, Mapping[str, str], Iterable[Pair]]


def split_line(line: str) -> Pair:
    """Split a line, without its line end, into name and value.

    The name ends at the first colon. One space after the colon is not part of the value. The name
    of a line without a colon is empty. Asterisk 11 writes ``ChanVariable(SIP/x:1-2): a=b``: a colon
    in brackets is part of the name, unless a space follows it.

    >>> split_line("Uniqueid: 1.2"), split_line("X:y"), split_line("no colon")
    (('Uniqueid', '1.2'), ('X', 'y'), ('', 'no colon'))
    """
    return _split_lines([line])[0]


def _split_lines(lines: List[str]) -> List[Pair]:
    """Return the name and value of each line."""
    items = []
    for line in lines:
        name, separator, value = line.partition(": ")
        if not separator or ":" in name:
            name, colon, value = line.partition(":")
            if "(" in name and ")" not in name and "):" in line:
                name, _, value = line.partition("):")
                name += ")"
            if not colon:
                name, value = "", line
            elif value.startswith(" "):
                value = value[1:]
        items.append((name, value))
    return items


def to_exact_pairs(lines: Pairs, argument: str) -> List[Pair]:
    """Return the pairs of a mapping, of Headers, or of an iterable of pairs, as plain str.

    :param argument: the name of the argument, for the error.
    :raises TypeError: for any other object, and if a name or value is not a str.
    """
    items = getattr(lines, "items", None)
    pairs = lines if items is None else items()
    if not hasattr(pairs, "__iter__"):
        raise TypeError(
            f"{argument} must be a mapping or an iterable of pairs, not {type(lines).__name__}"
        )
    plain = []
    for pair in pairs:
        # Only tuples and lists: a str of two characters would unpack, too. Two calls of
        # isinstance() are faster than one with both classes.
        if not (isinstance(pair, tuple) or isinstance(pair, list)) or len(pair) != 2:
            raise TypeError(
                f"{argument} must contain pairs of name and value, not {type(pair).__name__}"
            )
        name, value = pair
        if type(name) is not str or type(value) is not str:
            name = to_exact_str(name, f"each name in {argument}")
            value = to_exact_str(value, f"the value of {quote(name)} in {argument}")
        plain.append((name, value))
    return plain


def redacted(headers: Pairs) -> Iterator[Pair]:
    """Yield the (name, value) pair of each line, with secrets replaced by ``<redacted>``.

    These are the values of secret names (:func:`is_secret_name`), and in other values all text
    after a secret name and its ``=`` or ``:``. If the value of ``Variable`` or ``Var-N`` is a
    secret name, those of ``Value``, ``Value-N`` and ``Match-N`` are replaced, too (Setvar, VarSet,
    UpdateConfig). A secret with any other name is not recognized.

    :param headers: pairs, a mapping, or :class:`Headers`.

    >>> dict(redacted({"Username": "joe", "Secret": "geheim", "Data": "a=1,pin=2"}))
    {'Username': 'joe', 'Secret': '<redacted>', 'Data': 'a=1,pin=<redacted>'}
    """
    items = to_exact_pairs(headers, "headers")
    secret_values = set()
    for name, value in items:
        word, _, number = name.lower().partition("-")
        if word in ("var", "variable") and is_secret_name(value):
            secret_values |= {("value", number), ("match", number)}
    for name, value in items:
        word, _, number = name.lower().partition("-")
        if is_secret_name(name) or (word, number) in secret_values:
            yield name, REDACTED
        else:
            yield name, _redact_setting(value)


def _redact_setting(value: str) -> str:
    """Return a value without the text after the first secret name and its ``=`` or ``:``."""
    start = 0
    for separator in _SEPARATOR.finditer(value):
        if _SECRET_SETTING.search(value, start, separator.start()):
            return value[: separator.end()] + REDACTED
        start = separator.end()
    return value


def is_secret_name(name: str) -> bool:
    """Return whether a header, variable or setting of that name may contain a secret.

    True for names (str) with a word such as ``secret``, ``password`` or ``token`` in any case, and
    for ``Key``, ``Challenge`` and ``PIN``.
    """
    return _SECRET_NAME.search(name) is not None


def _lower(text: str) -> str:
    """Return the text with its ASCII letters in lower case, as Asterisk compares names."""
    if text.isascii():
        return text.lower()
    # bytes.lower() changes only ASCII letters, and no length.
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _normalize_surrogates(text: str) -> str:
    """Return the text with surrogates that represent valid UTF-8 decoded.

    The peer would read these characters, so a header built from the text equals the one received.
    """
    if text.isascii() or not is_encodable(text):
        return text
    return to_text(to_bytes(text))
