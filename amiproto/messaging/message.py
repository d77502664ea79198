"""The action MessageSend, and its body: ``Body`` or ``Base64Body``, or a text split into parts."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Any, List, Optional, Tuple, Type, TypeVar, Union

from .._text import get_header, to_exact_bytes, to_exact_str, to_text
from ..exceptions import BodyTooLong, InvalidBody, LocalProtocolError, TooManyLines
from ..headers import Pair, Pairs, to_exact_pairs
from ..limits import MAX_ACTION_LINE, MAX_ACTION_LINES, MAX_BASE64_BODY, MAX_BODY
from ..messages import Action, Banner, check_action_id, encode_action
from .fields import MessageFields
from .technology import find_technology, get_technology
from .variables import effective_variables, variable_headers

S = TypeVar("S", bound="MessageSend")


class MessageSend(Action):
    """``Action: MessageSend``: an out-of-call message, checked so that it arrives as written.

    Needs Asterisk 11 or later and the write class ``message``. Which rules apply depends on the
    technology: see :mod:`amiproto.messaging`, also for server settings that change a message. The
    rules were found by sending to 16.28 and 22.10 and looking at the messages that arrived.

    The body is sent as ``Body`` if that keeps it unchanged (no CR or LF, no leading byte up to
    0x20, at most 1016 bytes), else as ``Base64Body`` (at most 757 bytes), else it is rejected.

    :param to: the ``To`` header (str): ``"pjsip:alice"``, ``"sip:alice"``, ``"xmpp:a@host"``.
    :param body: the text (str, sent as UTF-8, or bytes, sent unchanged).
    :param from_: the ``From`` header (str); mandatory for xmpp.
    :param variables: names and values (str), a mapping or pairs; SIP headers for the SIP drivers.
        Each has its own ``Variable`` header, unless the action would have too many lines.
    :param destination: the ``Destination`` header (str), which routes instead of ``to``; since
        Asterisk 16.22, 18.8 and 19.0.
    :param action_id: the ActionID (str, at most 67 bytes); a session adds one if it is missing.
    :raises TypeError: if an argument has the wrong type; the error names it.
    :raises BodyTooLong: if the body exceeds the limit of its encoding.
    :raises InvalidBody: for NUL or a lone surrogate, and with xmpp for what XML cannot carry.
    :raises InvalidVariable: for a variable that would be dropped or altered, or do damage.
    :raises InvalidAddress: for a To, From or Destination that would not be used as written.
    :raises InvalidHeader: for an ActionID that is empty, has leading whitespace or a line end.
    :raises LineTooLong, TooManyLines: for what the server's buffers cannot hold.
    """

    __slots__ = ("_fields", "_technology")

    def __init__(
        self,
        to: str,
        body: Union[str, bytes],
        from_: Optional[str] = None,
        variables: Optional[Pairs] = None,
        destination: Optional[str] = None,
        action_id: Optional[str] = None,
    ) -> None:
        fields = MessageFields(
            to_exact_str(to, "to"),
            _encode_body(body),
            None if from_ is None else to_exact_str(from_, "from_"),
            () if variables is None else tuple(to_exact_pairs(variables, "variables")),
            None if destination is None else to_exact_str(destination, "destination"),
        )
        technology = find_technology(fields)
        fields = technology.check(fields)
        pairs = [("Action", "MessageSend")]
        if action_id is not None:
            action_id = to_exact_str(action_id, "action_id")
            pairs.append(("ActionID", action_id))
            action_id = check_action_id(action_id)
        pairs.append(("To", fields.to))
        if fields.from_ is not None:
            pairs.append(("From", fields.from_))
        if fields.destination is not None:
            pairs.append(("Destination", fields.destination))
        # One more line for the body, and one for the ActionID that a session adds if it is missing.
        others = len(pairs) + 1 + (action_id is None)
        variable_lines = variable_headers(fields.variables, MAX_ACTION_LINES - others)
        count = others + len(variable_lines)
        if count > MAX_ACTION_LINES:
            raise TooManyLines(
                f"message has {len(fields.variables)} variables and needs {count} action lines; "
                f"the limit is {MAX_ACTION_LINES}",
                field="Variable",
                limit=MAX_ACTION_LINES,
                actual=count,
                action_id=action_id,
            )
        # Not by the constructor of Action, which would check the headers again.
        self._wire = encode_action([*pairs, *variable_lines, body_header(fields.body)])
        self._headers = None
        self._name = "MessageSend"
        self._action_id = action_id
        self._fields = fields
        self._technology = technology

    @classmethod
    def from_wire(cls: Type[S], wire: bytes) -> S:
        """Return a message of just these bytes, as if received; nothing is checked."""
        message = super().from_wire(wire)
        message._fields = _read_fields(wire)
        message._technology = get_technology(message._fields.target)
        return message

    def with_action_id(self: S, action_id: str) -> S:
        """Return the same message with another ActionID; see :meth:`Action.with_action_id`."""
        message = super().with_action_id(action_id)
        message._fields = self._fields
        message._technology = self._technology
        return message

    @property
    def fields(self) -> MessageFields:
        """The fields of the message as the server reads them (:class:`MessageFields`)."""
        return self._fields

    @property
    def to(self) -> str:
        """The ``To`` header (str)."""
        return self.fields.to

    @property
    def from_(self) -> Optional[str]:
        """The ``From`` header (str), or None."""
        return self.fields.from_

    @property
    def body(self) -> bytes:
        """The body (bytes)."""
        return self.fields.body

    @property
    def text(self) -> str:
        """The body as text (str); bytes that are not UTF-8 become lone surrogates."""
        return to_text(self.body)

    @property
    def variables(self) -> Tuple[Pair, ...]:
        """The variables in order: pairs of name and value (str), not escaped."""
        return self.fields.variables

    @property
    def destination(self) -> Optional[str]:
        """The ``Destination`` header (str), or None."""
        return self.fields.destination

    @property
    def technology(self) -> str:
        """The technology prefix of the target, without its colon, in lower case (str)."""
        return self.fields.technology

    def check_server(self, banner: Banner) -> None:
        """Reject a message that this version of the server would not send exactly.

        :raises InvalidAddress: for a Destination that differs from To, under the AMI versions that
            always ignore it (:data:`amiproto.limits.AMI_WITHOUT_DESTINATION`), and for a From or To
            that some release with this banner would alter. The banner does not tell the releases
            apart.
        """
        try:
            self._technology.check_server(self._fields, banner)
        except LocalProtocolError as error:
            error.action_id = self.action_id
            raise

    def _content(self) -> Tuple[Any, ...]:
        return self.fields, self.action_id

    def __repr__(self) -> str:
        if not hasattr(self, "_fields"):
            return super().__repr__()
        return f"<MessageSend {self.fields.summary()} action_id={self.action_id!r}>"


def _read_fields(wire: bytes) -> MessageFields:
    """Return the fields of a MessageSend action as the server reads them."""
    encoded = get_header(wire, b"Base64Body")
    return MessageFields(
        to_text(get_header(wire, b"To")),
        decode_base64(encoded) if encoded else get_header(wire, b"Body"),
        to_text(get_header(wire, b"From")) or None,
        effective_variables(wire),
        to_text(get_header(wire, b"Destination")) or None,
    )


def parse_message_send(action: Action) -> MessageSend:
    """Return a MessageSend action as the server understands it, for servers and proxies.

    Names match in any case, and the first of repeated headers counts. Leading bytes up to 0x20 are
    stripped from values. A ``Base64Body`` that is not empty takes precedence over ``Body``. An
    empty variable removes an earlier one of its name, and of two values the last one counts (16.28
    and 22.10; on 11.25 the first one).

    :param action: any action of that name, built or received (:class:`Action`).
    :return: a :class:`MessageSend` with the same ``wire``; unlike one that is built, it is not
        checked.
    """
    return MessageSend.from_wire(action.wire)


def _encode_body(body: Union[str, bytes]) -> bytes:
    if isinstance(body, str):
        return _encode_text(body, "body", "; pass bytes to send another encoding")
    return to_exact_bytes(body, "body")


def _encode_text(text: str, argument: str, hint: str = "") -> bytes:
    try:
        return str.encode(text)  # not the method of a subclass
    except UnicodeEncodeError as error:
        start = error.start
    # Raised outside of the except block, because the error above holds the text.
    raise InvalidBody(
        f"{argument} contains a lone surrogate at index {start}, which cannot be encoded as UTF-8"
        f"{hint}",
        field="Body",
    )


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64_DIGITS = bytes(byte if byte in _BASE64 else _BASE64[-1] for byte in range(256))

#: Characters of base64 that fit into a ``Base64Body`` line.
_BASE64_ROOM = MAX_ACTION_LINE - len("Base64Body: ")

_JOINER = "\u200d"

#: As numbers, which Python finds in bytes several times faster than other bytes (3.8 to 3.13).
_CR, _LF = b"\r\n"


def is_plain(body: bytes) -> bool:
    """Return True if ``Body`` keeps a body unchanged: no line end, no leading byte up to 0x20."""
    return not body or (body[0] > 0x20 and _CR not in body and _LF not in body)


def max_body_size(body: bytes) -> int:
    """Return the limit in bytes for a body like this one."""
    return MAX_BODY if is_plain(body) else MAX_BASE64_BODY


def body_header(body: bytes) -> Pair:
    """Return the name and value of the header that keeps a body unchanged.

    :raises BodyTooLong: if neither ``Body`` nor ``Base64Body`` does.
    """
    plain = is_plain(body)
    limit = MAX_BODY if plain else MAX_BASE64_BODY
    if len(body) > limit:
        why = "" if plain else " with line breaks or leading whitespace"
        raise BodyTooLong(
            f"body is {len(body)} bytes; the limit{why} is {limit}",
            field="Body",
            limit=limit,
            actual=len(body),
        )
    if plain:
        return "Body", body.decode("utf-8", "surrogateescape")
    # Only padding is cut off here, which decoding does not need (11.25, 16.28, 22.10).
    return "Base64Body", to_text(b2a_base64(body, newline=False)[:_BASE64_ROOM])


def decode_base64(data: bytes) -> bytes:
    """Decode base64 as Asterisk does, which never fails (16.28, 22.10).

    It ends at the first ``=``; a character outside the alphabet counts as its last one; bits that
    fill no byte are dropped; the result ends at a NUL.

    :param data: the value of a ``Base64Body`` header (bytes).
    """
    digits = data.partition(b"=")[0].translate(_BASE64_DIGITS)
    size = len(digits) * 6 // 8
    return a2b_base64(digits + b"A" * (-len(digits) % 4))[:size].partition(b"\0")[0]


def split_body(text: str) -> List[str]:
    """Split a text into parts that each fit into one MessageSend.

    The parts joined give the text. A part ends after a line end if there is one in its second half,
    else after a space, else between two characters as a reader sees them (accents, emoji sequences
    and flags stay whole, as far as the Unicode data of the standard library knows them).

    :param text: any text that UTF-8 can encode (str).
    :return: the parts (list of str); the text alone, even an empty one, if it fits.
    :raises InvalidBody: for a lone surrogate.

    >>> [len(part) for part in split_body("x" * 2000)]
    [1016, 984]
    """
    text = to_exact_str(text, "text")
    _encode_text(text, "text")
    parts: List[str] = []
    start = 0
    while True:
        window = text[start : start + MAX_BODY + 1]
        if start + len(window) == len(text) and _fits(window):
            return [*parts, window]
        size = _part_length(window)
        parts.append(window[:size])
        start += size


def _part_length(window: str) -> int:
    """Return the length of the next part, in characters, of a text that does not fit."""
    end = _prefix_length(window, MAX_BODY)
    if not is_plain(window[:end].encode()):
        end = _prefix_length(window, MAX_BASE64_BODY)
        if is_plain(window[:end].encode()):
            # The first line end is beyond what Base64Body holds; up to there, Body holds more.
            end = min(window.find(char) for char in "\r\n" if char in window)
    half = end // 2
    for found in (window.rfind("\n", half, end), window.rfind(" ", half, end)):
        if found != -1 and _is_boundary(window, found + 1):
            return found + 1
    for place in range(end, half, -1):
        if _is_boundary(window, place):
            return place
    return _prefix_length(
        window, max_body_size(window[: _prefix_length(window, MAX_BODY)].encode())
    )


def _fits(text: str) -> bool:
    body = text.encode()
    return len(body) <= max_body_size(body)


def _prefix_length(window: str, limit: int) -> int:
    """Return how many characters of the window fit into ``limit`` bytes."""
    return len(window.encode()[:limit].decode("utf-8", "ignore"))


def _is_boundary(text: str, index: int) -> bool:
    """Return True if a reader sees one character end and another start at ``index``."""
    from unicodedata import category, combining

    before, after = text[index - 1], text[index]
    if before in "\r\n":
        return before == "\n" or after != "\n"
    if _JOINER in (before, after):
        return False
    if combining(after) or category(after) in ("Mn", "Me", "Mc"):  # accents, variation selectors
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False  # skin tones; the tags of a subdivision's flag
    if _is_flag_half(before) and _is_flag_half(after):
        run = 1
        while run < index and _is_flag_half(text[index - 1 - run]):
            run += 1
        return run % 2 == 0
    return not (_is_hangul_part(before) and _is_hangul_part(after, initial=False))


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _is_hangul_part(char: str, *, initial: bool = True) -> bool:
    # Conjoining jamo; a vowel or a final consonant can also follow a syllable block.
    if initial:
        return "\u1100" <= char <= "\u11ff" or "\uac00" <= char <= "\ud7a3"
    return "\u1160" <= char <= "\u11ff"
