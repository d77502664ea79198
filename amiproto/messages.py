"""The AMI messages, and how they are encoded.

A message stores its bytes, so a received one can be forwarded unchanged. A new message is checked
and encoded once, when it is created. Headers are parsed when they are first needed, the name and
the ActionID of an action when it is created or received.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Iterable, List, Optional, Tuple, Type, TypeVar

from ._text import (
    WHITESPACE,
    action_lines,
    find_lines,
    get_header,
    is_encodable,
    to_bytes,
    to_exact_str,
    to_text,
)
from .exceptions import InvalidHeader, LineTooLong, LocalProtocolError, TooManyLines, quote
from .framing import END_COMMAND, FOLLOWS, raw_output_start
from .headers import Headers, Pair, Pairs, redacted, split_line, to_exact_pairs
from .limits import MAX_ACTION_ID, MAX_ACTION_LINE, MAX_ACTION_LINES, MAX_BANNER

M = TypeVar("M", bound="Message")
C = TypeVar("C", bound="_ClientStanza")
A = TypeVar("A", bound="Action")
B = TypeVar("B", bound="Banner")
S = TypeVar("S", bound="_ServerStanza")

#: The most characters of a value, and the most lines of a message, that a repr shows. Events of a
#: channel have about thirty lines, the output of a command can have thousands.
_REPR_VALUE = 80
_REPR_LINES = 40

#: Asterisk's error message for a stanza without an Action, or a stray blank line (16.28, 22.10).
MISSING_ACTION = "Missing action in request"


class Message:
    """Base class of all messages.

    Messages are immutable, hashable, picklable and copyable. They are equal if they have the same
    class and equal headers.

    :param wire: the message on the wire (bytes), with its line ends and blank line.
    """

    __slots__ = ("_wire", "_headers")

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._headers: Optional[Headers] = None

    @classmethod
    def from_wire(cls: Type[M], wire: bytes) -> M:
        """Create a message from its bytes, with line ends and blank line, as if received."""
        # The constructors of the subclasses take names and values instead.
        message = cls.__new__(cls)
        message._wire = wire
        message._headers = None
        return message

    @property
    def wire(self) -> bytes:
        """The message on the wire (bytes)."""
        return self._wire

    @property
    def headers(self) -> Headers:
        """All header lines in order, with the first one (:class:`Headers`)."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers(self._wire)
        return headers

    @property
    def action_id(self) -> Optional[str]:
        """The value of the first ``ActionID`` header (str), or None."""
        return self.headers.get("ActionID")

    def _content(self) -> Tuple[Any, ...]:
        """Return the value that equality and the hash depend on."""
        return self.headers.items()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Message)
        return self._wire == other.wire or self._content() == other._content()

    def __hash__(self) -> int:
        return hash((type(self), self._content()))

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self).from_wire, (self._wire,)

    def __repr__(self) -> str:
        if not hasattr(self, "_wire"):  # in the traceback of a failed __init__()
            return f"<{type(self).__name__}, not initialized>"
        items = self.headers.items()
        pairs = islice(redacted(items), _REPR_LINES)
        shown = [f"{_name(n)}: {_truncate(v)}" for n, v in pairs]
        if len(items) > _REPR_LINES:
            shown.append(f"and {len(items) - _REPR_LINES} more")
        return f"<{type(self).__name__} {', '.join(shown)}>"


class _ClientStanza(Message):
    """A stanza from a client, whose headers are those that the server would read."""

    __slots__ = ("_action_id",)
    _action_id: Optional[str]

    @classmethod
    def from_wire(cls: Type[C], wire: bytes) -> C:
        message = super().from_wire(wire)
        message._action_id = _read_action_id(wire)
        return message

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str) as the server reads it, or None if it is missing or empty."""
        return self._action_id

    @property
    def headers(self) -> Headers:
        """All header lines in order, as the server reads them (:class:`Headers`)."""
        if self._headers is None:
            lines = [line + b"\r\n" for line in action_lines(self._wire)]
            self._headers = Headers(b"".join(lines) + b"\r\n")
        return self._headers


class Action(_ClientStanza):
    """A request from a client: ``Action: name``.

    ``Action("MessageSend", [...])`` is the low-level interface. Only the rules of framing are
    checked; how the server treats the headers is the responsibility of the caller. The server
    strips leading bytes up to 0x20 from values, and uses the first of repeated headers.

    :param name: the value of the ``Action`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str, at most 67 bytes), unless it is among the headers.
        A :class:`Session` adds one if it is missing.
    :raises InvalidHeader: for CR, LF or NUL, a header name that is empty or has a colon, a second
        Action or ActionID, a surrogate that does not represent a byte, or an empty action name.
    :raises LineTooLong: for a line over 1022 bytes, or an ActionID over 67.
    :raises TooManyLines: for more than 128 lines.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        try:
            self._build(name, headers, action_id)
        except (LocalProtocolError, TypeError) as error:
            # Without the inner frames, whose variables hold the values of headers: error reports
            # may show them.
            raise error.with_traceback(None)

    def _build(self, name: str, headers: Pairs, action_id: Optional[str]) -> None:
        pairs, action_id = _build_pairs("Action", name, headers, action_id)
        self._action_id = None if action_id is None else check_action_id(action_id)
        super().__init__(encode_action(pairs))
        self._name = _as_read(pairs[0][1])
        if not self._name:
            raise InvalidHeader("the action name must not be blank", field="Action")

    @classmethod
    def from_wire(cls: Type[A], wire: bytes) -> A:
        """Create an action from its bytes, with line ends and blank line, as if received."""
        action = super().from_wire(wire)
        action._name = to_text(get_header(wire, b"Action", skip_empty=True))
        return action

    @property
    def name(self) -> str:
        """The value of the ``Action`` header (str), as the server reads it."""
        return self._name

    def check_server(self, banner: Banner) -> None:
        """Reject an action that a server of this version would not carry out as requested.

        :meth:`Session.send` calls this. Most actions do not depend on the version.

        :raises LocalProtocolError: depending on the kind of action.
        """

    def with_action_id(self: A, action_id: str) -> A:
        """Return the same action with another ActionID.

        The line of the ActionID that the server reads is replaced, or a line is added after the
        first one. All other bytes stay the same, also those of a received action that a new one
        could not have.

        :param action_id: the ActionID (str, at most 67 bytes).
        :raises InvalidHeader, LineTooLong: as for a new action.
        :raises TooManyLines: if a line would be added to 128 lines.
        """
        action_id = to_exact_str(action_id, "action_id")
        action_id_as_read = check_action_id(action_id)
        wire = self._wire
        wire = _replace_action_id(wire, action_id, wire, b"\n", wire.find(b"\n") + 1)
        _check_line_count(wire.count(b"\n") - 1)
        action = type(self).__new__(type(self))
        action._wire, action._headers = wire, None
        action._name = self._name
        action._action_id = action_id_as_read
        return action


class _ServerStanza(Message):
    """A response or an event, which have their name in the first header."""

    __slots__ = ()
    #: The start of the first line: the name of the first header, a colon and a space (bytes).
    PREFIX = b""

    @property
    def name(self) -> str:
        """The value of the first header (str)."""
        wire, prefix = self._wire, self.PREFIX
        if wire.startswith(prefix):  # as servers write it
            end = wire.find(b"\r\n")
            return wire[len(prefix) : end].decode("utf-8", "surrogateescape")
        return next(iter(self.headers.values()), "")

    @property
    def action_id(self) -> Optional[str]:
        """The value of the first ``ActionID`` header (str), or None."""
        wire = self._wire
        start = wire.find(b"\r\n") + 2
        if wire.startswith(b"ActionID: ", start):  # servers mostly write it in the second line
            end = wire.find(b"\r\n", start)
            return wire[start + len("ActionID: ") : end].decode("utf-8", "surrogateescape")
        return self.headers.get("ActionID")

    def with_action_id(self: S, action_id: str) -> S:
        """Return the same message with another ActionID (str), for proxies.

        The line of the first ActionID is replaced, or a line is added. All other bytes stay the
        same.

        :raises InvalidHeader: as for a new message.
        """
        action_id = to_exact_str(action_id, "action_id")
        wire = self._wire
        place = len(FOLLOWS) if wire.startswith(FOLLOWS) else wire.find(b"\r\n") + 2
        wire = _replace_action_id(wire, action_id, self._head(), b"\r\n", place)
        message = self.from_wire(wire)
        if raw_output_start(self._wire) is not None:
            _check_raw_output(message, 3)  # Response, Privilege and ActionID
        return message

    def _head(self) -> bytes:
        """Return the header lines and the blank line."""
        return self._wire


class Response(_ServerStanza):
    """A response from a server: ``Response: name``.

    :param name: ``"Success"``, ``"Error"``, ``"Goodbye"``, ``"Follows"``... (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID of the action (str), unless it is among the headers.
    :param output: the lines of a command's output (iterable of str), written as ``Output``
        headers, or as raw output if ``name`` is ``"Follows"``, as servers before Asterisk 14 do.
    :raises InvalidHeader: for headers or output that cannot be encoded.
    """

    __slots__ = ()
    PREFIX = b"Response: "

    def __init__(
        self,
        name: str,
        headers: Pairs = (),
        *,
        action_id: Optional[str] = None,
        output: Iterable[str] = (),
    ) -> None:
        pairs, _ = _build_pairs("Response", name, headers, action_id)
        if pairs[0][1] != "Follows":
            super().__init__(encode_stanza(pairs + [("Output", line) for line in _lines(output)]))
            return
        super().__init__(encode_stanza(pairs)[:-2] + _encode_raw_output(_lines(output)))
        _check_raw_output(self, len(pairs))

    @property
    def headers(self) -> Headers:
        """All header lines in order, without raw output (:class:`Headers`)."""
        if self._headers is None:
            self._headers = Headers(self._head())
        return self._headers

    @property
    def message(self) -> str:
        """The value of the ``Message`` header (str), or ``""``."""
        return self.headers.get("Message", "")

    @property
    def output(self) -> Tuple[str, ...]:
        """The lines of a command's output (tuple of str), from either style of response."""
        start = raw_output_start(self.wire)
        if start is None:
            return tuple(self.headers.get_all("Output"))
        text = to_text(self.wire[start : -len(END_COMMAND)])
        if not text:
            return ()
        return tuple((text[:-1] if text.endswith("\n") else text).split("\n"))

    def _head(self) -> bytes:
        start = raw_output_start(self.wire)
        return self._wire if start is None else self._wire[:start] + b"\r\n"

    def _content(self) -> Tuple[Any, ...]:
        return self.headers.items(), self.output


class Event(_ServerStanza):
    """An event from a server: ``Event: name``.

    :param name: the value of the ``Event`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str) of the action that the event belongs to, if any.
    :raises InvalidHeader: for headers that cannot be encoded.
    """

    __slots__ = ()
    PREFIX = b"Event: "

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        super().__init__(encode_stanza(_build_pairs("Event", name, headers, action_id)[0]))


class UnknownMessage(Message):
    """A message from a server that is neither a Response nor an Event, by its first header.

    Header values can contain unescaped blank lines, and the text after one then looks like a
    separate message. Some actions of Asterisk 11 (``Queues``) respond with raw text.

    :param headers: at least one header; the name of the first is not Response, Event or Action.
    :raises InvalidHeader: for other headers, and for those that cannot be encoded.
    """

    __slots__ = ()

    def __init__(self, headers: Pairs) -> None:
        pairs = _header_pairs(headers)
        if not pairs:
            raise InvalidHeader("an UnknownMessage must have at least one header")
        if pairs[0][0].lower() in ("response", "event", "action"):
            raise InvalidHeader(
                "the first header of an UnknownMessage must not be Response, Event or Action",
                field=pairs[0][0],
            )
        super().__init__(encode_stanza(pairs))

    @property
    def name(self) -> str:
        """The name of the first header (str)."""
        return next(iter(self.headers), "")


class InvalidAction(_ClientStanza):
    """A stanza from a client that the server cannot read as an action.

    It is only received, never sent. The headers are those that the server would read.

    :param wire: the bytes that the server kept of the stanza, with its blank line.
    :param reason: Asterisk's error message (str): :data:`MISSING_ACTION` (also for a stray blank
        line), :data:`LINE_TOO_LONG` or :data:`TOO_MANY_LINES`.
    """

    __slots__ = ("_reason",)

    def __init__(self, wire: bytes, reason: str = MISSING_ACTION) -> None:
        super().__init__(wire)
        self._action_id = _read_action_id(wire)
        self._reason = reason

    @classmethod
    def from_wire(cls, wire: bytes) -> InvalidAction:
        """Create a message from the bytes of a stanza without an action."""
        return cls(wire)

    @property
    def reason(self) -> str:
        """Asterisk's error message (str; 16.28 and 22.10)."""
        return self._reason

    def __reduce__(self) -> Tuple[Any, ...]:
        return InvalidAction, (self.wire, self._reason)


class Banner(Message):
    """The first line from a server: ``Asterisk Call Manager/`` and the AMI version.

    Asterisk 11 sends version 1.3, 16.28 sends 5.0.4, 20 sends 9.0.0, 22 sends 11.0.0.

    :param version: the version of AMI (str), not of Asterisk.
    :raises InvalidHeader: if the version has a slash or is not printable, or if the line is longer
        than 256 bytes.
    """

    __slots__ = ("_version",)
    PRODUCT = "Asterisk Call Manager"

    def __init__(self, version: str) -> None:
        version = to_exact_str(version, "version")
        if "/" in version or not version.isprintable():
            raise InvalidHeader(
                f"invalid version {quote(version)}; expected printable characters without a slash",
                field="version",
            )
        line = f"{self.PRODUCT}/{version}\r".encode()
        if len(line) > MAX_BANNER:
            raise InvalidHeader(
                f"the banner is {len(line)} bytes; the limit is {MAX_BANNER}",
                field="version",
                limit=MAX_BANNER,
                actual=len(line),
            )
        super().__init__(line + b"\n")
        self._version = version

    @classmethod
    def from_wire(cls: Type[B], wire: bytes) -> B:
        """Create a banner from its line, with its line end, as if received."""
        banner = super().from_wire(wire)
        banner._version = to_text(wire).rstrip("\r\n").rpartition("/")[2]
        return banner

    @property
    def version(self) -> str:
        """The version of AMI (str), e.g. ``"11.0.0"``."""
        return self._version

    @property
    def major(self) -> Optional[int]:
        """The major version (int), or None if it is not a number."""
        first = self._version.partition(".")[0]
        return int(first) if first.isascii() and first.isdigit() and len(first) < 6 else None

    @property
    def headers(self) -> Headers:
        """Empty, because a banner has no headers (:class:`Headers`)."""
        return Headers()

    @property
    def action_id(self) -> None:
        """None, because a banner does not belong to an action."""
        return None

    def _content(self) -> Tuple[Any, ...]:
        return (self.version,)

    def __repr__(self) -> str:
        if not hasattr(self, "_version"):
            return super().__repr__()
        return f"<Banner {_name(self.version)}>"


def _header_pairs(headers: Pairs) -> List[Pair]:
    """Return a caller's headers as plain str; reject names that would not be read back unchanged.

    :raises InvalidHeader: for a name that is empty or contains a colon.
    """
    pairs = to_exact_pairs(headers, "headers")
    for name, value in pairs:
        if not name or (":" in name and split_line(f"{name}: {value}")[0] != name):
            raise InvalidHeader(
                f"the header name {quote(name)} is empty or contains a colon", field=name
            )
    return pairs


def _build_pairs(
    first: str, name: str, headers: Pairs, action_id: Optional[str]
) -> Tuple[List[Pair], Optional[str]]:
    """Return all header lines of a message in the order that servers use, and the ActionID."""
    name = to_exact_str(name, "name")
    rest = []
    if action_id is not None:
        action_id = to_exact_str(action_id, "action_id")
    for key, value in _header_pairs(headers):
        lowered = key.lower()
        if lowered == first.lower():
            raise InvalidHeader(f"{first} must be passed as name, not in headers", field=first)
        if lowered != "actionid":
            rest.append((key, value))
        elif action_id is None:
            action_id = value
        else:
            raise InvalidHeader("ActionID was given twice", field="ActionID")
    if action_id is not None:
        # Asterisk 11 writes the ActionID last, before the raw output.
        rest.insert(len(rest) if name == "Follows" else 0, ("ActionID", action_id))
    return [(first, name), *rest], action_id


def _as_read(value: str) -> str:
    """Return a value, which can be encoded, as the server reads it."""
    if value.isascii() and value[:1] > " ":
        return value
    return to_text(to_bytes(value).lstrip(WHITESPACE))


def _read_action_id(wire: bytes) -> Optional[str]:
    return to_text(get_header(wire, b"ActionID")) or None


def _replace_action_id(
    wire: bytes, action_id: str, head: bytes, line_end: bytes, place: int
) -> bytes:
    """Return the bytes of a message with another ActionID line.

    :param head: the start of the message, with all lines that can be headers.
    :param line_end: the end of a header line.
    :param place: the offset at which a line is inserted if the message has no ActionID.
    """
    if action_id.isprintable():  # faster than encode_stanza(), with the same result
        line = f"ActionID: {action_id}\r\n".encode()
    else:
        line = encode_stanza([("ActionID", action_id)])[:-2]
    start, end = next(find_lines(head, b"ActionID", line_end), (place, place))
    return wire[:start] + line + wire[end:]


def _lines(output: Iterable[str]) -> List[str]:
    return [to_exact_str(line, "each line of output") for line in output]


def _encode_raw_output(lines: List[str]) -> bytes:
    text = "".join([line + "\n" for line in lines])
    if not is_encodable(text) or text.count("\n") != len(lines):
        raise InvalidHeader(
            "a line of output contains LF, or a lone surrogate that cannot be encoded",
            field="output",
        )
    return to_bytes(text) + END_COMMAND


def _check_raw_output(response: Message, header_count: int) -> None:
    """Reject raw output that would not be read back."""
    wire = response.wire
    if raw_output_start(wire) is None or len(response.headers) != header_count:
        raise InvalidHeader(
            "Response: Follows can have no other headers than Privilege: Command and ActionID",
            field="Response",
        )
    if wire.find(END_COMMAND) != len(wire) - len(END_COMMAND):
        raise InvalidHeader(
            'the output or the ActionID contains the terminator "--END COMMAND--"', field="output"
        )


def _name(text: str) -> str:
    return text if text.isprintable() and len(text) <= _REPR_VALUE else _truncate(text)


def _truncate(value: str) -> str:
    return repr(value if len(value) <= _REPR_VALUE else value[:_REPR_VALUE] + "...")


def encode_stanza(pairs: List[Pair]) -> bytes:
    """Return the header lines and the blank line as bytes.

    :param pairs: the name and value of each line, plain str.
    :raises InvalidHeader: for CR, LF or NUL, or a surrogate that does not represent a byte.
    """
    text = "\r\n".join(map(": ".join, pairs)) + "\r\n"
    count = len(pairs)
    # Searching the whole text three times is faster than searching each header.
    if text.count("\n") == count and text.count("\r") == count and "\0" not in text:
        try:
            return (text + "\r\n").encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            pass  # an error raised here would have this one as context, and with it any secret
    problems = [(name, _problem(name + value)) for name, value in pairs]
    name, problem = next(found for found in problems if found[1])
    raise InvalidHeader(f"the header {quote(name)} contains {problem}", field=name)


def _problem(text: str) -> str:
    """Return why a header line cannot contain the text, or an empty str if it can."""
    for character, description in (("\r", "CR"), ("\n", "LF"), ("\0", "NUL")):
        if character in text:
            return f"{description}, which would end the line"
    return "" if is_encodable(text) else "a lone surrogate, which cannot be encoded"


def encode_action(pairs: List[Pair]) -> bytes:
    """Return the bytes of an action, within the limits of the server.

    :raises InvalidHeader: as :func:`encode_stanza` does.
    :raises LineTooLong: for a line over 1022 bytes.
    :raises TooManyLines: for more than 128 lines.
    """
    wire = encode_stanza(pairs)
    _check_line_count(len(pairs))
    if len(wire) > MAX_ACTION_LINE:
        for line in wire.split(b"\r\n"):
            if len(line) > MAX_ACTION_LINE:
                raise _line_too_long(line)
    return wire


def _check_line_count(count: int) -> None:
    if count > MAX_ACTION_LINES:
        raise TooManyLines(
            f"the action has {count} lines; the limit is {MAX_ACTION_LINES}",
            limit=MAX_ACTION_LINES,
            actual=count,
        )


def _line_too_long(line: bytes) -> LineTooLong:
    name = split_line(line.decode("utf-8", "replace"))[0]
    return LineTooLong(
        f"the line of the header {quote(name)} is {len(line)} bytes; the limit is "
        f"{MAX_ACTION_LINE}",
        field=name,
        limit=MAX_ACTION_LINE,
        actual=len(line),
    )


def check_action_id(action_id: str) -> str:
    """Return an ActionID as the server reads it; reject one that it would not echo unchanged.

    :param action_id: plain str.
    :raises InvalidHeader: if it is empty or has a leading byte up to 0x20.
    :raises LineTooLong: if it is longer than 67 bytes.
    """
    if not action_id or action_id[0] <= " ":
        raise InvalidHeader(
            "the ActionID is empty or has leading whitespace, which the server strips, so that "
            "its response could not be matched",
            field="ActionID",
        )
    size = len(action_id)
    # encode_stanza rejects surrogates that cannot be encoded.
    if not action_id.isascii() and is_encodable(action_id):
        encoded = to_bytes(action_id)
        size, action_id = len(encoded), to_text(encoded)
    if size > MAX_ACTION_ID:
        raise LineTooLong(
            f"the ActionID is {size} bytes; the limit is {MAX_ACTION_ID}",
            field="ActionID",
            limit=MAX_ACTION_ID,
            actual=size,
        )
    return action_id
