"""What goes over the wire: Action, Response, Event, Banner, and the two kinds of odd stanza.

A message *is* its bytes, and has no other form: those received are kept as they came, so that any
stanza can be sent on byte for byte, and those built are checked and written once, when built. The
headers are read out of the bytes when asked for.

Pairs to bytes, strictly: the one place that knows a line's form and decides what may leave.
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
from .exceptions import InvalidHeader, LineTooLong, TooManyLines
from .framing import END_COMMAND, raw_output_start
from .headers import Headers, Pair, Pairs, redact, split_line, to_exact_pairs
from .limits import MAX_ACTION_ID, MAX_ACTION_LINE, MAX_ACTION_LINES, MAX_BANNER

M = TypeVar("M", bound="Message")
A = TypeVar("A", bound="Action")

#: How much a repr shows of a value, in characters, and of a stanza, in lines: enough to know it by,
#: fit for a log. Channel events have some thirty lines, a command's output has thousands.
_REPR_VALUE = 80
_REPR_LINES = 40

#: What Asterisk 16.28 and 22.10 answer to a stanza without an Action, or a stray blank line.
MISSING_ACTION = "Missing action in request"


class Message:
    """Base of what :meth:`Connection.next_event` gives and :meth:`Connection.send` takes.

    Immutable, hashable, picklable, copyable; equal when of one type and with equal headers.

    :param wire: the message as it stands on the wire (bytes), line ends and blank line included.
    """

    # The headers are a view of the bytes, kept as most programs ask for more than one.
    __slots__ = ("_wire", "_headers")

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._headers: Optional[Headers] = None

    @classmethod
    def from_wire(cls: Type[M], wire: bytes) -> M:
        """A message of just these bytes, line ends and blank line included, as if received."""
        # The constructors of the kinds take names and values, and this one takes bytes.
        message = cls.__new__(cls)
        message._wire = wire
        message._headers = None
        return message

    @property
    def wire(self) -> bytes:
        """The message as it stands, or stood, on the wire (bytes)."""
        return self._wire

    @property
    def headers(self) -> Headers:
        """Every header line in order, the first one included (:class:`Headers`)."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers(self._head())
        return headers

    @property
    def action_id(self) -> Optional[str]:
        """The value of the first ``ActionID`` header (str), or None."""
        return self.headers.get("ActionID")

    def _head(self) -> bytes:
        """The header lines, each ended by CR LF, and the blank line."""
        wire = self._wire
        if wire.endswith(b"\r\n\r\n") and wire[wire.find(b"\n") - 1] == 0x0D:
            return wire
        return _with_crlf(split_lines(wire))

    def _content(self) -> Tuple[Any, ...]:
        """What makes two messages of one type equal."""
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


class Action(Message):
    """What a client asks: ``Action: name``, its ActionID, its headers.

    ``Action("MessageSend", [...])`` is the raw door: it obeys only the rules of framing, and what
    the server makes of the headers is up to whoever wrote them. Note that the server strips
    bytes up to 0x20 from the front of a value, and takes the first of repeated headers.

    :param name: the value of the ``Action`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str, at most 67 bytes), unless it is among the headers.
        A :class:`Session` gives one to an action that has none.
    :raises InvalidHeader: for CR, LF or NUL anywhere, a name that is empty or has a colon, a
        second Action or ActionID, a surrogate that stands for no byte, or an Action of blanks.
    :raises LineTooLong: for a line over 1022 bytes, or an ActionID over 67.
    :raises TooManyLines: for more than 128 lines.
    """

    __slots__ = ()

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        pairs = _build_pairs("Action", name, headers, action_id)
        for key, value in pairs:
            if key.lower() == "actionid":
                check_action_id(value)
        super().__init__(encode_action(pairs))
        if not to_bytes(pairs[0][1]).strip(WHITESPACE):
            raise InvalidHeader(
                "the action has no name, and the server would not know it for one; give one",
                field="Action",
            )

    @property
    def name(self) -> str:
        """The value of the ``Action`` header (str), as the server reads it."""
        return to_text(get_header(self.wire, b"Action", skip_empty=True))

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str) as the server reads it; None where there is none, or an empty one."""
        return to_text(get_header(self.wire, b"ActionID")) or None

    def check_server(self, banner: Banner) -> None:
        """Refuse an action that a server of this version would not carry out as it is asked.

        A :class:`Session` asks before it takes an action. Most actions are the same to all.

        :raises LocalProtocolError: as the kind of action says.
        """

    def with_action_id(self: A, action_id: str) -> A:
        """The same action under another ActionID (str, at most 67 bytes).

        :raises InvalidHeader, LineTooLong, TooManyLines: as for a new action.
        """
        action_id = to_exact_str(action_id, "action_id")
        check_action_id(action_id)
        head, *kept = [pair for pair in self.headers.items() if pair[0].lower() != "actionid"]
        return self.from_wire(encode_action([head, ("ActionID", action_id), *kept]))

    def _head(self) -> bytes:
        return _with_crlf(action_lines(self.wire))


class Response(Message):
    """What a server answers: ``Response: name``.

    :param name: ``"Success"``, ``"Error"``, ``"Goodbye"``, ``"Follows"``... (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID of the action that is answered (str), unless among the headers.
    :param output: the lines of a command's output (iterable of str), written as ``Output``
        headers, or as raw text when ``name`` is ``"Follows"``, as servers before Asterisk 14 do.
    :raises InvalidHeader: for what cannot be said in one line.
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
            super().__init__(encode_stanza(pairs + [("Output", line) for line in _plain(output)]))
            return
        super().__init__(encode_stanza(pairs)[:-2] + _command_text(_plain(output)))
        if raw_output_start(self.wire) is None or len(self.headers) != len(pairs):
            raise InvalidHeader(
                "Response: Follows takes Privilege: Command and an ActionID; leave other "
                "headers out",
                field="Response",
            )
        if self.wire.find(END_COMMAND) != len(self.wire) - len(END_COMMAND):
            raise InvalidHeader(
                "the output or the ActionID before it holds the line that ends a command; remove "
                "it",
                field="output",
            )

    @property
    def name(self) -> str:
        """The value of the ``Response`` header (str)."""
        return self.headers.get("Response", "")

    @property
    def message(self) -> str:
        """The value of the ``Message`` header (str), empty where there is none."""
        return self.headers.get("Message", "")

    @property
    def output(self) -> Tuple[str, ...]:
        """The lines of a command's output (tuple of str), from either style of answer."""
        start = raw_output_start(self.wire)
        if start is None:
            return tuple(self.headers.get_all("Output"))
        text = to_text(self.wire[start : -len(END_COMMAND)])
        return tuple((text[:-1] if text.endswith("\n") else text).split("\n")) if text else ()

    def _head(self) -> bytes:
        start = raw_output_start(self.wire)
        return super()._head() if start is None else self.wire[:start] + b"\r\n"

    def _content(self) -> Tuple[Any, ...]:
        return self.headers.items(), self.output


class Event(Message):
    """What a server tells: ``Event: name``.

    :param name: the value of the ``Event`` header (str).
    :param headers: the other headers: pairs, a mapping, or :class:`Headers`.
    :param action_id: the ActionID (str) of the action that the event belongs to, if any.
    :raises InvalidHeader: for what cannot be said in one line.
    """

    __slots__ = ()

    def __init__(self, name: str, headers: Pairs = (), *, action_id: Optional[str] = None) -> None:
        super().__init__(encode_stanza(_build_pairs("Event", name, headers, action_id)))

    @property
    def name(self) -> str:
        """The value of the ``Event`` header (str)."""
        return self.headers.get("Event", "")


class UnknownMessage(Message):
    """A server's stanza of no known kind: its first header is neither Response nor Event.

    Values can hold blank lines, unescaped, and what comes after one then looks like a stanza of its
    own; and some actions of Asterisk 11 (``Queues``) answer in raw text.

    :param headers: at least one header, the first of another name than Response, Event, Action.
    :raises InvalidHeader: for what cannot be said in one line, or that is no orphan.
    """

    __slots__ = ()

    def __init__(self, headers: Pairs) -> None:
        pairs = to_exact_pairs(headers, "headers")
        if not pairs or pairs[0][0].lower() in ("response", "event", "action"):
            raise InvalidHeader(
                "an orphan starts with a header other than Response, Event and Action; "
                "use the class of that name",
                field=pairs[0][0] if pairs else None,
            )
        super().__init__(encode_stanza(pairs))

    @property
    def name(self) -> str:
        """The name of its first header (str), which stands where others have ``Event``."""
        return next(iter(self.headers), "")


class InvalidAction(Message):
    """A client's stanza that the server cannot read as an action: what is left of it, and why.

    Only received, never sent. The headers are those that were read all the same.

    :param wire: what is left of the stanza (bytes), its blank line included.
    :param reason: what Asterisk answers (str): :data:`MISSING_ACTION` (a stray blank line is a
        stanza without an action, too), :data:`LINE_TOO_LONG` or :data:`TOO_MANY_LINES`.
    """

    __slots__ = ("_reason",)

    def __init__(self, wire: bytes, reason: str = MISSING_ACTION) -> None:
        super().__init__(wire)
        self._reason = reason

    @classmethod
    def from_wire(cls, wire: bytes) -> InvalidAction:
        """A stanza of just these bytes, without an action."""
        return cls(wire)

    @property
    def reason(self) -> str:
        """The text of Asterisk's error response (str; 16.28 and 22.10)."""
        return self._reason

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str) as the server reads it; None where there is none, or an empty one."""
        return to_text(get_header(self.wire, b"ActionID")) or None

    def _head(self) -> bytes:
        return _with_crlf(action_lines(self.wire))

    def __reduce__(self) -> Tuple[Any, ...]:
        return InvalidAction, (self.wire, self._reason)


class Banner(Message):
    """The server's first line: ``Asterisk Call Manager/`` and the version of AMI; no blank line.

    Asterisk 11 says 1.3, 16.28 says 5.0.4, 20 says 9.0.0, 22 says 11.0.0.

    :param version: the version of AMI (str), not of Asterisk.
    :raises InvalidHeader: for a slash or what is not printable in the version, and for a line of
        over 256 bytes.
    """

    __slots__ = ()
    PRODUCT = "Asterisk Call Manager"

    def __init__(self, version: str) -> None:
        version = to_exact_str(version, "version")
        if "/" in version or not version.isprintable():
            raise InvalidHeader(
                "the banner's version is not printable or has a slash; give one such as 11.0.0",
                field="version",
            )
        line = f"{self.PRODUCT}/{version}\r".encode()
        if len(line) > MAX_BANNER:
            raise InvalidHeader(
                f"the banner has {len(line)} bytes and a client reads at most {MAX_BANNER}; "
                "shorten the version",
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

    def __repr__(self) -> str:
        return f"<Banner {_name(self.version)}>"


def _build_pairs(first: str, name: str, headers: Pairs, action_id: Optional[str]) -> List[Pair]:
    """All the lines in the order in which servers and clients write them."""
    name = to_exact_str(name, "name")
    pairs = [(first, name)]
    rest = []
    if action_id is not None:
        action_id = to_exact_str(action_id, "action_id")
    for key, value in to_exact_pairs(headers, "headers"):
        lowered = key.lower()
        if lowered == first.lower():
            raise InvalidHeader(f"give {first} as the name, not among the headers", field=first)
        if lowered != "actionid":
            rest.append((key, value))
        elif action_id is None:
            action_id = value
        else:
            raise InvalidHeader("give one ActionID: two were given", field="ActionID")
    if action_id is None:
        return pairs + rest
    if name == "Follows":  # Asterisk 11 writes its ActionID last, right before the text
        return pairs + rest + [("ActionID", action_id)]
    return pairs + [("ActionID", action_id)] + rest


def _with_crlf(lines: List[bytes]) -> bytes:
    """The lines, each ended by CR LF, and the blank line."""
    return b"".join([line + b"\r\n" for line in lines]) + b"\r\n"


def _plain(output: Iterable[str]) -> List[str]:
    return [to_exact_str(line, "a line of output") for line in output]


def _command_text(lines: List[str]) -> bytes:
    text = "".join([line + "\n" for line in lines])
    if not is_encodable(text) or text.count("\n") != len(lines):
        raise InvalidHeader(
            "a line of output holds an LF, or a lone surrogate that no byte stands for; remove it",
            field="output",
        )
    return to_bytes(text) + END_COMMAND


def _name(text: str) -> str:
    return text if text.isprintable() and len(text) <= _REPR_VALUE else _truncate(text)


def _truncate(value: str) -> str:
    return repr(value if len(value) <= _REPR_VALUE else value[:_REPR_VALUE] + "...")


def encode_stanza(pairs: List[Pair]) -> bytes:
    """The lines and the blank line, or a refusal that names the header.

    :param pairs: name and value of each line, plain str.
    :raises InvalidHeader: for CR, LF or NUL anywhere, a name that would not be read back as that
        name, or a surrogate that stands for no byte.
    """
    for name, value in pairs:
        if not name or (":" in name and split_line(f"{name}: {value}")[0] != name):
            raise InvalidHeader(
                f"the header name {name!r} is empty or has a colon, which would end it; rename it",
                field=name,
            )
    text = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    count = len(pairs)
    # Three searches of the whole text cost less than one of each header.
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise _control_refused(pairs)
    try:
        return to_bytes(text) + b"\r\n"
    except UnicodeEncodeError:
        pass  # not raised from here: its context would hold the text, and a secret with it
    raise _surrogate_refused(pairs)


def encode_action(pairs: List[Pair]) -> bytes:
    """An action's bytes, within what the server reads.

    :raises InvalidHeader: as :func:`encode_stanza` does.
    :raises LineTooLong: for a line over 1022 bytes.
    :raises TooManyLines: for more than 128 lines.
    """
    wire = encode_stanza(pairs)
    if len(pairs) > MAX_ACTION_LINES:
        raise TooManyLines(
            f"the action has {len(pairs)} lines and the server keeps {MAX_ACTION_LINES}; "
            "send fewer headers",
            limit=MAX_ACTION_LINES,
            actual=len(pairs),
        )
    if len(wire) > MAX_ACTION_LINE:
        _check_lines(wire)
    return wire


def _check_lines(wire: bytes) -> None:
    """Refuse the first line that is over the server's limit."""
    for line in wire.split(b"\r\n"):
        if len(line) > MAX_ACTION_LINE:
            name = split_line(line.decode("utf-8", "replace"))[0]
            raise LineTooLong(
                f"the {name} line has {len(line)} bytes and the server reads at most "
                f"{MAX_ACTION_LINE}; shorten it",
                field=name,
                limit=MAX_ACTION_LINE,
                actual=len(line),
            )


def check_action_id(action_id: str) -> None:
    """Refuse an ActionID that the server would not echo as it is.

    :param action_id: plain str.
    :raises InvalidHeader: for one that is empty or has a leading byte up to 0x20.
    :raises LineTooLong: for one over 67 bytes.
    """
    if not action_id or action_id[0] <= " ":
        raise InvalidHeader(
            "the ActionID is empty or starts with a blank, which the server strips, so that the "
            "answer would not be known by it; give another",
            field="ActionID",
        )
    # Surrogates that no byte stands for are refused when the line is written.
    size = len(to_bytes(action_id)) if is_encodable(action_id) else 0
    if size > MAX_ACTION_ID:
        raise LineTooLong(
            f"the ActionID has {size} bytes and servers echo at most {MAX_ACTION_ID}; shorten it",
            field="ActionID",
            limit=MAX_ACTION_ID,
            actual=size,
        )


def _control_refused(pairs: List[Pair]) -> InvalidHeader:
    name, called = next(
        (name, called)
        for name, value in pairs
        for character, called in (("\r", "CR"), ("\n", "LF"), ("\0", "NUL"))
        if character in name or character in value
    )
    return InvalidHeader(
        f"the header {name!r} holds a {called}, which would end the line; remove it", field=name
    )


def _surrogate_refused(pairs: List[Pair]) -> InvalidHeader:
    name = next(name for name, value in pairs if not is_encodable(name + value))
    return InvalidHeader(
        f"the header {name!r} holds a lone surrogate, which no byte stands for; remove it",
        field=name,
    )
