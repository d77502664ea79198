"""MessageSend: a message to a phone that arrives exactly as asked, or is refused here.

Apart from the other actions because of what it knows: what AMI and each channel technology are
known to do to a message. The same knowledge, read backwards, is :func:`parse_message_send`.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from functools import lru_cache

from .addresses import check_address, check_from, check_target
from .encoding import check_action_id, check_lines
from .errors import BodyRefused, BodyTooLong, TooManyLines, VariableRefused
from .headers import pairs_of
from .limits import (
    MAX_ACTION_LINE,
    MAX_ACTION_LINES,
    MAX_BASE64_BODY,
    MAX_BODY,
    MAX_DATAGRAM,
    MAX_SIP_VARIABLES,
)
from .lines import action_lines, value_as_read
from .messages import Action
from .text import to_bytes, to_text
from .variables import escape_variable, parse_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from .headers import Pair, Pairs

#: A header name in SIP (RFC 3261, token). The server passes any other name through, blanks and
#: colons too, into a message that no phone can read (all of 11.25, 16.28, 22.10).
#: (Patterns are compiled where they are used: programs that send nothing need not wait for that.)
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"

#: Names that chan_sip and pjsip keep for themselves and drop from a message (16.28, 22.10);
#: Request-URI would even become the request line of chan_sip.
DROPPED_VARIABLES = frozenset(
    "to from via route contact call-id cseq allow content-length request-uri".split()
)

#: What both stacks write themselves, under its compact name, which neither drops: the phone gets
#: two of it, From or Content-Length among them, and takes either (16.28, 22.10).
COMPACT_VARIABLES = {
    "c": "Content-Type", "f": "From", "i": "Call-ID", "l": "Content-Length", "m": "Contact",
    "t": "To", "v": "Via",
}  # fmt: skip

#: Counted down by one before it is sent; a bad value makes chan_sip fail, and pjsip drop the
#: variables behind it (16.28, 22.10).
DAMAGING_VARIABLES = frozenset({"max-forwards"})

#: What pjsip takes as a Content-Type: a type and a subtype, no parameters (16.28, 22.10).
_PLAIN_TYPE = r"[A-Za-z0-9\-.!%*_+`'~]+/[A-Za-z0-9\-.!%*_+`'~]+"

#: What XML 1.0 cannot hold (its production [2] Char) and the server puts raw into the stream
#: (16.28, 22.10), and CR, which XML turns into LF (XML 1.0, 2.11).
_NOT_XML = "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"

#: Bytes for which a variable's value is looked at more closely: those that cannot be in it, those
#: that are escaped, and the first byte that a surrogate has in UTF-8.
_DELICATE = b'\0\r\n\\",()[]\xed'

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64_DIGITS = bytes(byte if byte in _BASE64 else _BASE64[-1] for byte in range(256))

#: Bytes that the headers of the server's own take at the most, addresses not counted; real ones
#: have 450 with a short host name (16.28, 22.10).
_SERVERS_HEADERS = 1024

_NO_NAME = "[\x00-\x1f\x7f=\ud800-\udfff]"
_TEXT = (str, type(None))
_new = object.__new__
#: How a message starts that was written here.
MESSAGE_SEND = b"Action: MessageSend\r\n"
_SIP_TECHNOLOGIES = ("sip", "pjsip")


class MessageSend(Action):
    """``Action: MessageSend``: an out-of-call message, checked so that it arrives as it is.

    Needs Asterisk 11 or later and the write class ``message``. The rules depend on the technology
    in front of the destination's first colon: ``sip:``, ``pjsip:``, ``xmpp:``; any other has only
    those of AMI itself. The text goes out as ``Body`` where it survives that (no CR or LF, no
    byte up to 0x20 in front, at most 1016 bytes), else as ``Base64Body`` (at most 756 bytes), else
    it is refused. ``Action("MessageSend", [...])`` sends what you write, unchecked.

    :param to: the ``To`` header (str): ``"pjsip:alice"``, ``"sip:alice"``, ``"xmpp:a@host"``.
    :param body: the text (str, sent as UTF-8, or bytes, sent as they are).
    :param from_: the ``From`` header (str); mandatory for xmpp. For ``sip:`` a name or
        ``Name <sip:user@host>``, for ``pjsip:`` a URI or ``Name <sip:user@host>``, without port or
        parameters.
    :param variables: names and values (str), a mapping or pairs; one ``Variable`` header each.
        They become SIP headers.
    :param destination: the ``Destination`` header (str), which then routes in place of ``to``;
        since Asterisk 16.22, 18.8 and 19.0, ignored by older ones.
    :param action_id: the ActionID (str, at most 67 bytes).
    :raises BodyTooLong: with the limit for this text.
    :raises BodyRefused: for NUL, a lone surrogate, and for xmpp what XML cannot hold.
    :raises VariableRefused: for a variable that would be dropped, changed, or do damage.
    :raises AddressRefused: for a To, From or Destination that would not be used as written.
    :raises LineTooLong, TooManyLines: for what the server's buffers cannot hold.
    """

    __slots__ = ("_to", "_from", "_text", "_names", "_values", "_destination", "_action_id")
    _to: str
    _from: Optional[str]
    _text: bytes
    _names: Tuple[str, ...]
    _values: Sequence[str]
    _destination: Optional[str]
    _action_id: Optional[str]

    def __init__(
        self,
        to: str,
        body: Union[str, bytes] = "",
        from_: Optional[str] = None,
        variables: Optional[Pairs] = None,
        destination: Optional[str] = None,
        action_id: Optional[str] = None,
    ) -> None:
        # Told here, for bytes may stand for str in the memory of addresses.
        if not isinstance(to, str) or not isinstance(from_, _TEXT):
            raise TypeError("To and From are str")
        if not isinstance(destination, _TEXT):
            raise TypeError("Destination is a str")
        technology, lines = _address_lines(to, from_, destination)
        self._to, self._from, self._destination = to, from_, destination
        self._text = text = _checked_body(body, technology)
        self._names, self._values = (), ()
        if variables:
            names: Iterable[str]
            if type(variables) is dict:  # the usual case, told at once
                names, values = variables, [*variables.values()]
            else:
                pairs = [*pairs_of(variables)]
                names, values = [name for name, _ in pairs], [value for _, value in pairs]
            if values:
                "".join(names)  # raises TypeError for any that is no str
                form = _variable_form(technology, *names)
                lines += form.lines(values)
                self._names, self._values = form.names, values
        self._action_id = action_id
        if action_id is None:
            head = f"Action: MessageSend\r\n{lines}"
        else:
            self._action_id = action_id = check_action_id(action_id)
            head = f"Action: MessageSend\r\nActionID: {action_id}\r\n{lines}"
        wire = b"%s%s\r\n\r\n" % (head.encode("utf-8", "surrogateescape"), body_line(text))
        self._wire = wire
        self._body = self._headers = None
        if len(wire) > MAX_ACTION_LINE:
            _check_size(self, technology)

    @classmethod
    def from_wire(cls, wire: bytes) -> MessageSend:
        """A message of just these bytes, as :func:`parse_message_send` understands them."""
        return parse_message_send(Action.from_wire(wire))

    @property
    def to(self) -> str:
        """The ``To`` header (str)."""
        return self._to

    @property
    def from_(self) -> Optional[str]:
        """The ``From`` header (str), or None."""
        return self._from

    @property
    def body(self) -> bytes:
        """The text as it arrives (bytes)."""
        return self._text

    @property
    def text(self) -> str:
        """The text as it arrives (str; bytes that are no UTF-8 become lone surrogates)."""
        return to_text(self._text)

    @property
    def variables(self) -> Tuple[Pair, ...]:
        """The variables in order: pairs of name and value (str), before escaping."""
        return tuple(zip(self._names, self._values))

    @property
    def destination(self) -> Optional[str]:
        """The ``Destination`` header (str), or None."""
        return self._destination

    @property
    def action_id(self) -> Optional[str]:
        """The ActionID (str), or None."""
        return self._action_id

    @property
    def technology(self) -> str:
        """What stands before the first colon of the destination, in lower case (str)."""
        target = self._to if self._destination is None else self._destination
        return target.partition(":")[0].lower()

    def with_action_id(self, action_id: str) -> MessageSend:
        """The same message under another ActionID (str, at most 67 bytes)."""
        action_id = check_action_id(action_id)
        wire = self.wire
        start = len(MESSAGE_SEND)
        if not wire.startswith(MESSAGE_SEND) or wire.count(b"\n") > MAX_ACTION_LINES:
            return super().with_action_id(action_id)  # not written here, but received
        if wire.startswith(b"ActionID: ", start):
            start = wire.find(b"\n", start) + 1
        line = f"ActionID: {action_id}\r\n".encode("utf-8", "surrogateescape")
        return _message(
            MESSAGE_SEND + line + wire[start:], self._to, self._text, self._from, self._names,
            self._values, self._destination, action_id,
        )  # fmt: skip

    def _content(self) -> Tuple[Any, ...]:
        return (
            self._to, self._text, self._from, self._names, tuple(self._values),
            self._destination, self._action_id,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash(self._content())

    def __reduce__(self) -> Tuple[Any, ...]:
        return _message, (self.wire, *self._content())

    def __repr__(self) -> str:
        return (
            f"<MessageSend to={self._to!r} from_={self._from!r} body={len(self._text)} bytes "
            f"variables={list(self._names)} action_id={self.action_id!r}>"
        )


def parse_message_send(action: Action) -> MessageSend:
    """A MessageSend action as the server understands it, for servers and proxies.

    Names match in any case and the first of repeated headers counts; leading bytes up to 0x20 of
    a value are stripped; a non-empty ``Base64Body`` counts before ``Body``, is decoded without
    fail and ends at a NUL; every ``Variable`` header is read by the server's grammar, where an
    empty value takes away an earlier one of that name, and a repeated name keeps its first
    spelling and takes the last value (as Asterisk 16 and 22 do; on 11 the first value stays).

    :param action: any action by that name, our own or one received (:class:`Action`).
    :return: a :class:`MessageSend` of what was understood; unlike one built, it is not checked,
        and its ``wire`` is the action's.
    """
    lines = action_lines(action.wire)

    def read(name: bytes) -> str:
        return to_text(value_as_read(lines, name))

    encoded = value_as_read(lines, b"Base64Body")
    text = decode_base64(encoded) if encoded else value_as_read(lines, b"Body")
    variables: Dict[bytes, Pair] = {}
    for line in lines:
        if line[:9].lower() == b"variable:":
            for name, value in parse_variables(line[9:]):
                if value:
                    spelling = variables.get(name.lower(), (to_text(name),))[0]
                    variables[name.lower()] = (spelling, to_text(value))
                else:
                    variables.pop(name.lower(), None)
    return _message(
        action.wire,
        read(b"To"),
        text,
        read(b"From") or None,
        tuple([name for name, _ in variables.values()]),
        [value for _, value in variables.values()],
        read(b"Destination") or None,
        action.action_id,
    )


def decode_base64(data: bytes) -> bytes:
    """Base64 as Asterisk decodes it, without fail (16.28, 22.10).

    It ends at the first ``=``; a character that is none of base64 counts as the last of them;
    bits that fill no byte are dropped; what is decoded ends at a NUL.

    :param data: the value of a ``Base64Body`` header (bytes).
    """
    digits = data.partition(b"=")[0].translate(_BASE64_DIGITS)
    size = len(digits) * 6 // 8
    return a2b_base64(digits + b"A" * (-len(digits) % 4))[:size].partition(b"\0")[0]


def body_line(text: bytes) -> bytes:
    """The line that carries a text unchanged, without its end (bytes).

    :raises BodyTooLong: when neither ``Body`` nor ``Base64Body`` does.
    """
    plain = not text or text[0] > 0x20 and 0x0A not in text and 0x0D not in text
    if plain and len(text) <= MAX_BODY:
        return b"Body: " + text
    if len(text) <= MAX_BASE64_BODY:
        return b"Base64Body: " + b2a_base64(text, newline=False)
    limit = MAX_BODY if plain else MAX_BASE64_BODY
    why = "" if plain else " with line breaks, or a blank in front,"
    raise BodyTooLong(
        f"the text has {len(text)} bytes and AMI carries at most {limit} of a text{why}; "
        "shorten it, or send the parts that split_body(text) gives",
        field="Body",
        limit=limit,
        actual=len(text),
    )


def _message(
    wire: bytes,
    to: str,
    text: bytes,
    from_: Optional[str],
    names: Tuple[str, ...],
    values: Sequence[str],
    destination: Optional[str],
    action_id: Optional[str],
) -> MessageSend:
    self = _new(MessageSend)
    self._set(wire)
    self._to, self._text, self._from, self._names, self._values = to, text, from_, names, values
    self._destination, self._action_id = destination, action_id
    return self


def _check_size(message: MessageSend, technology: str) -> None:
    wire = message.wire
    # With the ActionID, which a session adds where there is none, and without the blank line.
    count = wire.count(b"\n") - (1 if message.action_id is not None else 0)
    if count > MAX_ACTION_LINES:
        raise TooManyLines(
            f"the message has {len(message.variables)} variables and its action over "
            f"{MAX_ACTION_LINES} lines; send fewer variables",
            field="Variable",
            limit=MAX_ACTION_LINES,
            actual=count,
            action_id=message.action_id,
        )
    check_lines(wire)
    if len(wire) > MAX_DATAGRAM // 2 and technology in _SIP_TECHNOLOGIES:
        _check_datagram(message)


def _check_datagram(message: MessageSend) -> None:
    # As the phone gets it: the addresses stand in several headers, and the server adds its own.
    size = len(message.body) + _SERVERS_HEADERS
    size += sum([len(to_bytes(f"{name}: {value}\r\n")) for name, value in message.variables])
    size += 3 * len(to_bytes(f"{message.to}{message.from_}{message.destination}"))
    if size > MAX_DATAGRAM:
        raise VariableRefused(
            f"the message would have about {size} bytes and a SIP datagram holds {MAX_DATAGRAM}; "
            "send fewer or shorter variables",
            field="Variable",
            limit=MAX_DATAGRAM,
            actual=size,
        )


def _checked_body(body: Union[str, bytes], technology: str) -> bytes:
    if isinstance(body, str):
        try:
            text = body.encode()
        except UnicodeEncodeError as error:
            raise BodyRefused(
                f"the text holds a lone surrogate at character {error.start}, which UTF-8 cannot "
                "carry; give bytes to send such a text as it is",
                field="Body",
            ) from None
    else:
        text = bytes(memoryview(body))
    if 0 in text:
        raise BodyRefused(
            "the text holds a NUL, where the server would cut it off; remove it", field="Body"
        )
    if technology == "xmpp":
        try:
            found = re.search(_NOT_XML, text.decode())
        except UnicodeDecodeError:
            raise BodyRefused(
                "the text is no UTF-8, which would break the server's XML stream", field="Body"
            ) from None
        if found:
            raise BodyRefused(
                f"the text holds {found.group()!r} at character {found.start()}, which XML "
                "cannot carry to an xmpp client; remove it",
                field="Body",
            )
    return text


# The addresses and the names of variables of a program are few, and its messages many: what was
# found good once need not be looked at again. What is refused is looked at every time.


@lru_cache(maxsize=1024)
def _address_lines(to: str, from_: Optional[str], destination: Optional[str]) -> Pair:
    """The technology, and the lines of the addresses.

    :raises AddressRefused: for one that would not be used as it is written.
    """
    check_address("To", to)
    lines = f"To: {to}\r\n"
    target = to
    if from_ is not None:
        check_address("From", from_)
        lines += f"From: {from_}\r\n"
    if destination is not None:
        check_address("Destination", destination)
        lines += f"Destination: {destination}\r\n"
        target = destination
    technology = target.partition(":")[0].lower()
    check_target(technology, to, destination)
    _check_from(technology, from_)
    return technology, lines


_check_from = lru_cache(maxsize=256)(check_from)


class _VariableForm:
    """How variables of some names are written, once these were found good."""

    __slots__ = ("names", "_technology", "_parts", "_is_picky")

    def __init__(self, technology: str, names: Tuple[str, ...]) -> None:
        self.names = names
        self._technology = technology
        # What stands around the values, and a place for each of those.
        self._parts = [""]
        for name in names:
            self._parts[-1] += f"Variable: {escape_variable(name)}="
            self._parts += ["", "\r\n"]
        self._is_picky = technology == "pjsip" and "content-type" in map(str.lower, names)

    def lines(self, values: List[str]) -> str:
        """The lines with these values.

        :raises VariableRefused: for a value that would be dropped, changed, or do damage.
        """
        # One look at them all. A surrogate becomes what some Hangul starts with, too: those are
        # looked at more closely, as well.
        text = "".join(values).encode("utf-8", "surrogatepass")
        if self._is_picky or "" in values or len(text.translate(None, _DELICATE)) != len(text):
            for name, value in zip(self.names, values):
                _check_value(name, value, self._technology)
            values = [escape_variable(value) for value in values]
        parts = self._parts[:]
        parts[1::2] = values
        return "".join(parts)


@lru_cache(maxsize=256)
def _variable_form(technology: str, *names: str) -> _VariableForm:
    """The form of variables with these names.

    :raises VariableRefused: for a name that would be dropped, or do damage.
    """
    if technology == "xmpp":
        raise VariableRefused(
            "an xmpp message carries no variables: the server ignores them all; leave them out",
            field="Variable",
        )
    if technology == "sip" and len(names) > MAX_SIP_VARIABLES:
        # A Content-Type takes the place of chan_sip's own.
        count = len([name for name in names if name.lower() != "content-type"])
        if count > MAX_SIP_VARIABLES:
            raise VariableRefused(
                f"{count} variables, and chan_sip keeps {MAX_SIP_VARIABLES}, then drops headers; "
                "send fewer",
                field="Variable",
                limit=MAX_SIP_VARIABLES,
                actual=count,
            )
    seen = set()
    for name in names:
        _check_name(name, technology)
        lowered = name.lower()
        if lowered in seen:
            raise VariableRefused(
                f"the variable {name!r} is given twice; servers disagree on which one counts",
                field=name,
            )
        seen.add(lowered)
    return _VariableForm(technology, names)


def _check_name(name: str, technology: str) -> None:
    if not name or name[0] == " " or re.search(_NO_NAME, name):
        raise VariableRefused(
            f"the variable name {name!r} is empty, starts with a blank, or has an equals sign, "
            "a control character or a lone surrogate",
            field=name,
        )
    if technology in _SIP_TECHNOLOGIES:
        _check_sip_header(name, technology)


def _check_value(name: str, value: str, technology: str) -> None:
    if not value:
        raise VariableRefused(
            f"the variable {name!r} is empty, and no server sends an empty one; leave it out",
            field=name,
        )
    if "\r" in value or "\n" in value or "\0" in value:
        raise VariableRefused(
            f"the value of the variable {name!r} holds a CR, LF or NUL; remove it", field=name
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise VariableRefused(
            f"the value of the variable {name!r} holds a lone surrogate; remove it", field=name
        ) from None
    is_type = technology == "pjsip" and name.lower() == "content-type"
    if is_type and not re.fullmatch(_PLAIN_TYPE, value):
        raise VariableRefused(
            f"pjsip takes a type and a subtype such as text/plain as {name!r}, and no parameters",
            field=name,
        )


def _check_sip_header(name: str, technology: str) -> None:
    if not re.fullmatch(_TOKEN, name):
        raise VariableRefused(
            f"the variable name {name!r} is no SIP header name (letters, digits and -.!%*_+`'~)",
            field=name,
        )
    lowered = name.lower()
    if lowered in DROPPED_VARIABLES:
        raise VariableRefused(
            f"the server keeps {name!r} for itself and drops yours; use another name", field=name
        )
    if lowered in COMPACT_VARIABLES:
        raise VariableRefused(
            f"{name!r} is the short form of {COMPACT_VARIABLES[lowered]}, of which the phone would "
            "get two; use another name",
            field=name,
        )
    if lowered in DAMAGING_VARIABLES:
        raise VariableRefused(
            f"{name!r} is changed, makes the server fail, or drops what is behind it; leave it out",
            field=name,
        )
    if lowered == "user-agent" and technology == "sip":
        # pjsip takes it in place of its own (16.28, 22.10).
        raise VariableRefused(
            f"chan_sip writes {name!r} itself, and the phone would get two; leave it out",
            field=name,
        )
