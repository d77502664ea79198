"""What goes over the wire: Action, Response, Event, Banner, and the two kinds of odd stanza.

A message *is* its bytes: those received are kept as they came, so that any stanza can be sent on
byte for byte, and those built are checked and written once, when built. The headers are read out
of the bytes when first asked for.
"""

from __future__ import annotations

import re

from .encoding import encode_action, encode_stanza
from .errors import HeaderRefused
from .headers import Headers, pair_of_line, pairs_of, redacted
from .limits import MAX_BANNER
from .lines import BLANKS, action_lines, lf_lines, value_as_read
from .text import to_bytes, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Optional, Tuple, Type, TypeVar

    from .headers import Pair, Pairs

    M = TypeVar("M", bound="Message")

#: How the text of a command ends, before Asterisk 14 (seen on 11.25): ``Response: Follows``,
#: raw text, this line, a blank line.
END_COMMAND = b"--END COMMAND--\r\n\r\n"

#: How a command's raw text starts there. From Asterisk 14 on, it is an ordinary stanza.
FOLLOWS = b"Response: Follows\r\nPrivilege: Command\r\n"

#: Where most clients, and this library, write an ActionID: it can be read without the other lines.
_USUAL_ACTION_ID = re.compile(
    rb"Action: [^\0\r\n]*\r\nActionID: ([^\0-\x20][^\0\r\n]*)\r\n"
)

#: How much a repr shows of a value, in characters, and of a stanza, in lines: enough to know it by,
#: fit for a log. Channel events have some thirty lines, a command's output has thousands.
_REPR_VALUE = 80

_new = object.__new__
_REPR_LINES = 40


class Message:
    """Base of what :meth:`Connection.next_event` gives and :meth:`Connection.send` takes.

    Immutable, hashable, picklable, copyable; equal when of one type and with equal headers.
    """

    # Read only when asked for. Nearly every stanza received has its lines ended by CR LF: such a
    # one is kept as _body, without its blank line and with _wire None, which saves a copy of it.
    __slots__ = ("_wire", "_body", "_headers")
    _wire: Optional[bytes]
    _body: Optional[bytes]
    _headers: Optional[Headers]

    @classmethod
    def from_wire(cls: Type[M], wire: bytes) -> M:
        """A message of just these bytes, line ends and blank line included, as if received."""
        self = cls.__new__(cls)
        self._set(wire)
        return self

    def _set(self, wire: bytes) -> None:
        self._wire = wire
        self._body = self._headers = None

    @property
    def wire(self) -> bytes:
        """The message as it stands, or stood, on the wire (bytes)."""
        wire = self._wire
        if wire is None:
            assert self._body is not None
            wire = self._wire = self._body + b"\r\n\r\n"
        return wire

    @property
    def headers(self) -> Headers:
        """Every header line in order, the first one included (:class:`Headers`)."""
        headers = self._headers
        if headers is None:
            body = self._body
            if body is None:
                lines = list(map(to_text, self._lines()))
            else:
                lines = body.decode("utf-8", "surrogateescape").split("\r\n")
            headers = self._headers = _new(Headers)
            headers._items = tuple(map(pair_of_line, lines))
            headers._index = None
        return headers

    @property
    def action_id(self) -> Optional[str]:
        """The value of the first ``ActionID`` header (str), or None."""
        # Where Asterisk writes it, behind the first line, it is found without reading the rest.
        data = self._body
        if data is None:
            data = self.wire
        start = data.find(b"\n") + 1
        if data.startswith(b"ActionID: ", start):
            end = data.find(b"\n", start)
            if end < 0:
                return to_text(data[start + 10 :])
            if data[end - 1] == 0x0D:
                return data[start + 10 : end - 1].decode("utf-8", "surrogateescape")
        return self.headers.get("ActionID")

    def _first_value(self) -> str:
        body = self._body
        if body is None:
            return self.headers.items()[0][1]
        end = body.find(b"\r\n")
        return pair_of_line(to_text(body if end < 0 else body[:end]))[1]

    def _lines(self) -> List[bytes]:
        wire = self.wire
        if wire.endswith(b"\r\n\r\n") and wire[wire.find(b"\n") - 1] == 0x0D:
            return wire[:-4].split(b"\r\n")
        return lf_lines(wire)

    def _content(self) -> Tuple[Any, ...]:
        return self.headers.items()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Message)
        return self.wire == other.wire or self._content() == other._content()

    def __hash__(self) -> int:
        return hash((type(self), self.headers))

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self).from_wire, (self.wire,)

    def __repr__(self) -> str:
        items = self.headers.items()
        shown = [f"{_name(n)}: {_short(v)}" for n, v in redacted(items[:_REPR_LINES])]
        if len(items) > _REPR_LINES:
            shown.append(f"and {len(items) - _REPR_LINES} more")
        return f"<{type(self).__name__} {', '.join(shown)}>"


class Action(Message):
    """What a client asks: ``Action: name``, its ActionID, its headers.

    ``Action("MessageSend", [...])`` is the raw door: it obeys only the rules of framing, and what
    the server makes of the headers is up to whoever wrote them. Note that the server strips
    bytes up to 0x20 from the front of a value, and takes the first of repeated headers.

    :param name: the value of the ``Action`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str, at most 67 bytes), unless it is among the headers.
        A :class:`Session` gives one to an action that has none.
    :raises HeaderRefused: for CR, LF or NUL anywhere, a name that is empty or has a colon, a
        second Action or ActionID, a surrogate that stands for no byte, or an Action of blanks.
    :raises LineTooLong: for a line over 1022 bytes, or an ActionID over 67.
    :raises TooManyLines: for more than 128 lines.
    """

    __slots__ = ()

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        self._set(encode_action(_ordered("Action", name, headers, action_id)))
        if not to_bytes(name).strip(BLANKS):
            raise HeaderRefused(
                "the action has no name, and the server would not know it for one; give one",
                field="Action",
            )

    @property
    def name(self) -> str:
        """The value of the ``Action`` header (str), as the server reads it."""
        return to_text(value_as_read(self._lines(), b"Action", skip_empty=True))

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str) as the server reads it; None where there is none, or an empty one."""
        found = _USUAL_ACTION_ID.match(self.wire)
        value = found.group(1) if found else value_as_read(self._lines(), b"ActionID")
        return to_text(value) or None

    def with_action_id(self: M, action_id: str) -> M:
        """The same action under another ActionID (str, at most 67 bytes).

        :raises HeaderRefused, LineTooLong, TooManyLines: as for a new action.
        """
        head, *kept = [pair for pair in self.headers.items() if pair[0].lower() != "actionid"]
        return self.from_wire(encode_action([head, ("ActionID", action_id), *kept]))

    def _lines(self) -> List[bytes]:
        return action_lines(self.wire)


class Response(Message):
    """What a server answers: ``Response: name``.

    :param name: ``"Success"``, ``"Error"``, ``"Goodbye"``, ``"Follows"``... (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID of the action that is answered (str), unless among the headers.
    :param output: the lines of a command's output (iterable of str), written as ``Output``
        headers, or as raw text when ``name`` is ``"Follows"``, as servers before Asterisk 14 do.
    :raises HeaderRefused: for what cannot be said in one line.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        headers: Pairs = (),
        *,
        action_id: Optional[str] = None,
        output: Iterable[str] = (),
    ) -> None:
        pairs = _ordered("Response", name, headers, action_id)
        if name == "Follows":
            self._set(encode_stanza(pairs)[:-2] + _command_text(output))
            if self._text_start() is None or len(self.headers) != len(pairs):
                raise HeaderRefused(
                    "Response: Follows takes Privilege: Command and an ActionID, no other header",
                    field="Response",
                )
            if self.wire.find(END_COMMAND) != len(self.wire) - len(END_COMMAND):
                raise HeaderRefused(
                    "the output or the ActionID in front of it holds the line that ends a command",
                    field="output",
                )
        else:
            self._set(encode_stanza(pairs + [("Output", line) for line in output]))

    @property
    def name(self) -> str:
        """The value of the ``Response`` header (str)."""
        return self._first_value()

    @property
    def message(self) -> str:
        """The value of the ``Message`` header (str), empty where there is none."""
        return self.headers.get("Message", "")

    @property
    def output(self) -> Tuple[str, ...]:
        """The lines of a command's output (tuple of str), from either style of answer."""
        head = self._text_start()
        if head is None:
            return tuple(self.headers.get_all("Output"))
        text = to_text(self.wire[head : -len(END_COMMAND)])
        return tuple((text[:-1] if text.endswith("\n") else text).split("\n")) if text else ()

    def _text_start(self) -> Optional[int]:
        # Where raw text starts: behind the two or three headers that Asterisk 11 wrote, each
        # ended by CR LF, which the lines of the text are not.
        wire = self.wire
        if not wire.startswith(FOLLOWS) or not wire.endswith(END_COMMAND):
            return None
        start = wire.find(b"\n", wire.find(b"\n") + 1) + 1
        if wire[start : start + 9].lower() == b"actionid:":
            end = wire.find(b"\n", start)
            if wire[end - 1] == 0x0D:
                start = end + 1
        return start

    def _lines(self) -> List[bytes]:
        start = self._text_start()
        return super()._lines() if start is None else self.wire[: start - 2].split(b"\r\n")

    def _content(self) -> Tuple[Any, ...]:
        return self.headers.items(), self.output


class Event(Message):
    """What a server tells: ``Event: name``.

    :param name: the value of the ``Event`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str) of the action that the event belongs to, if any.
    :raises HeaderRefused: for what cannot be said in one line.
    """

    __slots__ = ()

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        self._set(encode_stanza(_ordered("Event", name, headers, action_id)))

    @property
    def name(self) -> str:
        """The value of the ``Event`` header (str)."""
        return self._first_value()


class Orphan(Message):
    """A server's stanza of no known kind: its first header is neither Response nor Event.

    Values can hold blank lines, unescaped, and what is behind one then looks like a stanza of its
    own; and some actions of Asterisk 11 (``Queues``) answer in raw text.

    :param headers: at least one header, the first of another name than Response, Event, Action.
    :raises HeaderRefused: for what cannot be said in one line, or that is no orphan.
    """

    __slots__ = ()

    def __init__(self, headers: Pairs) -> None:
        pairs = list(pairs_of(headers))
        if not pairs or pairs[0][0].lower() in ("response", "event", "action"):
            raise HeaderRefused(
                "an orphan starts with a header other than Response, Event and Action; "
                "use the class of that name",
                field=pairs[0][0] if pairs else None,
            )
        self._set(encode_stanza(pairs))

    @property
    def name(self) -> str:
        """The name of its first header (str), which stands where others have ``Event``."""
        return self.headers.items()[0][0]

    @property
    def action_id(self) -> Optional[str]:
        """The value of the first ``ActionID`` header (str), the first line's too, or None."""
        return self.headers.get("ActionID")


class Malformed(Message):
    """A client's stanza that the server cannot read as an action: what is left of it, and why.

    Only received, never sent. ``reason`` is what Asterisk answers: :data:`MISSING_ACTION` (a stray
    blank line is a stanza without an action, too), :data:`LINE_TOO_LONG` or
    :data:`TOO_MANY_LINES`; the headers are those that were read all the same.
    """

    __slots__ = ("_reason",)
    _reason: str

    def _set(self, wire: bytes) -> None:
        super()._set(wire)
        self._reason = MISSING_ACTION

    @property
    def reason(self) -> str:
        """The text of Asterisk's error response (str; 16.28 and 22.10)."""
        return self._reason

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str) as the server reads it; None where there is none, or an empty one."""
        return to_text(value_as_read(self._lines(), b"ActionID")) or None

    def _lines(self) -> List[bytes]:
        return action_lines(self.wire)

    def __reduce__(self) -> Tuple[Any, ...]:
        return malformed, (self.wire, self._reason)


#: What Asterisk 16.28 and 22.10 answer to a stanza without an Action, or a stray blank line.
MISSING_ACTION = "Missing action in request"
#: What Asterisk 16.28 and 22.10 answer to a line over its buffer.
LINE_TOO_LONG = "Failed to parse message: line too long"
#: What Asterisk 16.28 and 22.10 answer to the 129th line of an action.
TOO_MANY_LINES = "Too many lines in message or allocation failure"


class Banner(Message):
    """The server's first line: ``Asterisk Call Manager/`` and the version of AMI; no blank line.

    Asterisk 11 says 1.3, 16.28 says 5.0.4, 20 says 9.0.0, 22 says 11.0.0.

    :param version: the version of AMI (str), not of Asterisk.
    :raises HeaderRefused: for a slash or what is not printable in the version, and for a line of
        over 256 bytes.
    """

    __slots__ = ()
    PRODUCT = "Asterisk Call Manager"

    def __init__(self, version: str) -> None:
        if "/" in version or not version.isprintable():
            raise HeaderRefused("a banner's version is printable and has no slash", field="version")
        line = f"{self.PRODUCT}/{version}\r".encode()
        if len(line) > MAX_BANNER:
            raise HeaderRefused(
                f"the banner has {len(line)} bytes and a client reads at most {MAX_BANNER}",
                field="version",
                limit=MAX_BANNER,
                actual=len(line),
            )
        self._set(line + b"\n")

    @property
    def version(self) -> str:
        """The version of AMI (str), e.g. ``"11.0.0"``."""
        return to_text(self.wire).rstrip("\r\n").rpartition("/")[2]

    @property
    def major(self) -> Optional[int]:
        """The first number of the version (int), or None where it is no number."""
        first = self.version.partition(".")[0]
        return int(first) if first.isascii() and first.isdigit() and len(first) < 6 else None

    @property
    def headers(self) -> Headers:
        """No header: a banner is a line of its own kind."""
        return Headers()

    @property
    def action_id(self) -> None:
        """None: a banner answers no action."""
        return None

    def _content(self) -> Tuple[Any, ...]:
        return (self.version,)

    def __hash__(self) -> int:
        return hash((Banner, self.version))

    def __repr__(self) -> str:
        return f"<Banner {_name(self.version)}>"


def malformed(wire: bytes, reason: str) -> Malformed:
    """A :class:`Malformed` of these bytes."""
    message = Malformed.from_wire(wire)
    message._reason = reason
    return message


def _ordered(first: str, name: str, headers: Pairs, action_id: Optional[str]) -> List[Pair]:
    pairs = [(first, name)]
    rest = []
    for key, value in pairs_of(headers):
        lowered = key.lower() if isinstance(key, str) else ""  # refused when encoded
        if lowered == first.lower():
            raise HeaderRefused(f"give {first} as the name, not among the headers", field=first)
        if lowered != "actionid":
            rest.append((key, value))
        elif action_id is None:
            action_id = value
        else:
            raise HeaderRefused("give one ActionID: two were given", field="ActionID")
    if action_id is None:
        return pairs + rest
    if name == "Follows":  # Asterisk 11 writes its ActionID last, right before the text
        return pairs + rest + [("ActionID", action_id)]
    return pairs + [("ActionID", action_id)] + rest


def _command_text(output: Iterable[str]) -> bytes:
    lines = list(output)
    text = "".join([line + "\n" for line in lines])
    try:
        wire = to_bytes(text) + END_COMMAND
    except UnicodeEncodeError:
        wire = b""
    if not wire or text.count("\n") != len(lines):
        raise HeaderRefused(
            "a line of output holds an LF, or a lone surrogate that no byte stands for",
            field="output",
        )
    return wire


def _name(text: str) -> str:
    return text if text.isprintable() and len(text) <= _REPR_VALUE else _short(text)


def _short(value: str) -> str:
    return repr(value if len(value) <= _REPR_VALUE else value[:_REPR_VALUE] + "...")
