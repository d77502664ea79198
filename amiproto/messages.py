"""The AMI messages, and how they are encoded.

A message stores its bytes, and parses its headers when they are first needed. A received
message therefore can be forwarded unchanged. A new message is checked and encoded once, when it is
created.
"""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, Tuple, Type, TypeVar

from ._text import (
    WHITESPACE,
    action_lines,
    get_header,
    is_encodable,
    split_lines,
    to_bytes,
    to_exact_str,
    to_text,
)
from .exceptions import InvalidHeader, LineTooLong, LocalProtocolError, TooManyLines
from .framing import END_COMMAND, raw_output_start
from .headers import Headers, Pair, Pairs, redact, split_line, to_exact_pairs
from .limits import MAX_ACTION_ID, MAX_ACTION_LINE, MAX_ACTION_LINES, MAX_BANNER

M = TypeVar("M", bound="Message")
A = TypeVar("A", bound="Action")

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
            headers = self._headers = Headers(self._head())
        return headers

    @property
    def action_id(self) -> Optional[str]:
        """The value of the first ``ActionID`` header (str), or None."""
        return self.headers.get("ActionID")

    def _head(self) -> bytes:
        """Return the header lines, each ended by CR LF, and the blank line."""
        wire = self._wire
        if wire.endswith(b"\r\n\r\n") and wire[wire.find(b"\n") - 1] == 0x0D:
            return wire
        return _with_crlf(split_lines(wire))

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
        items = self.headers.items()
        shown = [f"{_name(n)}: {_truncate(v)}" for n, v in redact(items[:_REPR_LINES])]
        if len(items) > _REPR_LINES:
            shown.append(f"and {len(items) - _REPR_LINES} more")
        return f"<{type(self).__name__} {', '.join(shown)}>"


class _ClientStanza(Message):
    """A stanza from a client, whose headers are those that the server would read."""

    __slots__ = ()

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str) as the server reads it, or None if it is missing or empty."""
        return to_text(get_header(self.wire, b"ActionID")) or None

    def _head(self) -> bytes:
        return _with_crlf(action_lines(self.wire))


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

    __slots__ = ()

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        try:
            self._build(name, headers, action_id)
        except LocalProtocolError as error:
            # Without the frames that hold a secret under names that no scrubber of reports knows.
            raise error.with_traceback(None)

    def _build(self, name: str, headers: Pairs, action_id: Optional[str]) -> None:
        pairs = _build_pairs("Action", name, headers, action_id)
        for key, value in pairs:
            if key.lower() == "actionid":
                check_action_id(value)
        super().__init__(encode_action(pairs))
        if not to_bytes(pairs[0][1]).strip(WHITESPACE):
            raise InvalidHeader("the action name must not be blank", field="Action")

    @property
    def name(self) -> str:
        """The value of the ``Action`` header (str), as the server reads it."""
        return to_text(get_header(self.wire, b"Action", skip_empty=True))

    def check_server(self, banner: Banner) -> None:
        """Reject an action that a server of this version would not carry out as requested.

        :meth:`Session.send` calls this. Most actions do not depend on the version.

        :raises LocalProtocolError: depending on the kind of action.
        """

    def with_action_id(self: A, action_id: str) -> A:
        """Return the same action with another ActionID (str, at most 67 bytes).

        :raises InvalidHeader, LineTooLong, TooManyLines: as for a new action.
        """
        action_id = to_exact_str(action_id, "action_id")
        check_action_id(action_id)
        first, *rest = [pair for pair in self.headers.items() if pair[0].lower() != "actionid"]
        return self.from_wire(encode_action([first, ("ActionID", action_id), *rest]))


class Response(Message):
    """A response from a server: ``Response: name``.

    :param name: ``"Success"``, ``"Error"``, ``"Goodbye"``, ``"Follows"``... (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID of the action (str), unless it is among the headers.
    :param output: the lines of a command's output (iterable of str), written as ``Output``
        headers, or as raw output if ``name`` is ``"Follows"``, as servers before Asterisk 14 do.
    :raises InvalidHeader: for headers or output that cannot be encoded.
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
        pairs = _build_pairs("Response", name, headers, action_id)
        if pairs[0][1] != "Follows":
            super().__init__(encode_stanza(pairs + [("Output", line) for line in _lines(output)]))
            return
        super().__init__(encode_stanza(pairs)[:-2] + _encode_raw_output(_lines(output)))
        if raw_output_start(self.wire) is None or len(self.headers) != len(pairs):
            raise InvalidHeader(
                "Response: Follows can have no other headers than Privilege: Command and ActionID",
                field="Response",
            )
        if self.wire.find(END_COMMAND) != len(self.wire) - len(END_COMMAND):
            raise InvalidHeader(
                'the output or the ActionID contains the terminator "--END COMMAND--"',
                field="output",
            )

    @property
    def name(self) -> str:
        """The value of the ``Response`` header (str)."""
        return self.headers.get("Response", "")

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
        return super()._head() if start is None else self.wire[:start] + b"\r\n"

    def _content(self) -> Tuple[Any, ...]:
        return self.headers.items(), self.output


class Event(Message):
    """An event from a server: ``Event: name``.

    :param name: the value of the ``Event`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str) of the action that the event belongs to, if any.
    :raises InvalidHeader: for headers that cannot be encoded.
    """

    __slots__ = ()

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        super().__init__(encode_stanza(_build_pairs("Event", name, headers, action_id)))

    @property
    def name(self) -> str:
        """The value of the ``Event`` header (str)."""
        return self.headers.get("Event", "")


class UnknownMessage(Message):
    """A message from a server that is neither a Response nor an Event, by its first header.

    Header values can contain unescaped blank lines, and the text after one then looks like a
    separate message. Some actions of Asterisk 11 (``Queues``) respond with raw text.

    :param headers: at least one header; the name of the first is not Response, Event or Action.
    :raises InvalidHeader: for other headers, and for those that cannot be encoded.
    """

    __slots__ = ()

    def __init__(self, headers: Pairs) -> None:
        pairs = to_exact_pairs(headers, "headers")
        if not pairs or pairs[0][0].lower() in ("response", "event", "action"):
            raise InvalidHeader(
                "the first header of an UnknownMessage must not be Response, Event or Action",
                field=pairs[0][0] if pairs else None,
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

    __slots__ = ()
    PRODUCT = "Asterisk Call Manager"

    def __init__(self, version: str) -> None:
        version = to_exact_str(version, "version")
        if "/" in version or not version.isprintable():
            raise InvalidHeader(
                "the version must be printable and must not have a slash, such as 11.0.0",
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

    @property
    def version(self) -> str:
        """The version of AMI (str), e.g. ``"11.0.0"``."""
        return to_text(self.wire).rstrip("\r\n").rpartition("/")[2]

    @property
    def major(self) -> Optional[int]:
        """The major version (int), or None if it is not a number."""
        first = self.version.partition(".")[0]
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
        return f"<Banner {_name(self.version)}>"


def _build_pairs(first: str, name: str, headers: Pairs, action_id: Optional[str]) -> List[Pair]:
    """Return all header lines of a message, in the order that servers and clients use."""
    name = to_exact_str(name, "name")
    pairs = [(first, name)]
    rest = []
    if action_id is not None:
        action_id = to_exact_str(action_id, "action_id")
    for key, value in to_exact_pairs(headers, "headers"):
        lowered = key.lower()
        if lowered == first.lower():
            raise InvalidHeader(f"{first} must be passed as name, not in headers", field=first)
        if lowered != "actionid":
            rest.append((key, value))
        elif action_id is None:
            action_id = value
        else:
            raise InvalidHeader("ActionID was given twice", field="ActionID")
    if action_id is None:
        return pairs + rest
    if name == "Follows":  # Asterisk 11 writes the ActionID last, before the raw output
        return pairs + rest + [("ActionID", action_id)]
    return pairs + [("ActionID", action_id)] + rest


def _with_crlf(lines: List[bytes]) -> bytes:
    return b"".join([line + b"\r\n" for line in lines]) + b"\r\n"


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


def _name(text: str) -> str:
    return text if text.isprintable() and len(text) <= _REPR_VALUE else _truncate(text)


def _truncate(value: str) -> str:
    return repr(value if len(value) <= _REPR_VALUE else value[:_REPR_VALUE] + "...")


def encode_stanza(pairs: List[Pair]) -> bytes:
    """Return the header lines and the blank line as bytes.

    :param pairs: the name and value of each line, plain str.
    :raises InvalidHeader: for CR, LF or NUL, a name that would not be read back as the same name,
        or a surrogate that does not represent a byte.
    """
    for name, value in pairs:
        if not name or (":" in name and split_line(f"{name}: {value}")[0] != name):
            raise InvalidHeader(
                f"the header name {name!r} is empty or contains a colon", field=name
            )
    text = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    count = len(pairs)
    # Searching the whole text three times is faster than searching each header.
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise _control_character_error(pairs)
    try:
        return to_bytes(text) + b"\r\n"
    except UnicodeEncodeError:
        pass  # an error raised here would have this one as context, and with it any secret
    name = next(name for name, value in pairs if not is_encodable(name + value))
    raise InvalidHeader(
        f"the header {name!r} contains a lone surrogate, which cannot be encoded", field=name
    )


def _control_character_error(pairs: List[Pair]) -> InvalidHeader:
    name, character = next(
        (name, description)
        for name, value in pairs
        for character, description in (("\r", "CR"), ("\n", "LF"), ("\0", "NUL"))
        if character in name or character in value
    )
    return InvalidHeader(
        f"the header {name!r} contains {character}, which would end the line", field=name
    )


def encode_action(pairs: List[Pair]) -> bytes:
    """Return the bytes of an action, within the limits of the server.

    :raises InvalidHeader: as :func:`encode_stanza` does.
    :raises LineTooLong: for a line over 1022 bytes.
    :raises TooManyLines: for more than 128 lines.
    """
    wire = encode_stanza(pairs)
    if len(pairs) > MAX_ACTION_LINES:
        raise TooManyLines(
            f"the action has {len(pairs)} lines; the limit is {MAX_ACTION_LINES}",
            limit=MAX_ACTION_LINES,
            actual=len(pairs),
        )
    if len(wire) > MAX_ACTION_LINE:
        for line in wire.split(b"\r\n"):
            if len(line) > MAX_ACTION_LINE:
                raise _line_too_long(line)
    return wire


def _line_too_long(line: bytes) -> LineTooLong:
    name = split_line(line.decode("utf-8", "replace"))[0]
    return LineTooLong(
        f"the {name} line is {len(line)} bytes; the limit is {MAX_ACTION_LINE}",
        field=name,
        limit=MAX_ACTION_LINE,
        actual=len(line),
    )


def check_action_id(action_id: str) -> None:
    """Reject an ActionID that the server would not echo unchanged.

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
    # encode_stanza rejects surrogates that cannot be encoded.
    size = len(to_bytes(action_id)) if is_encodable(action_id) else 0
    if size > MAX_ACTION_ID:
        raise LineTooLong(
            f"the ActionID is {size} bytes; the limit is {MAX_ACTION_ID}",
            field="ActionID",
            limit=MAX_ACTION_ID,
            actual=size,
        )
