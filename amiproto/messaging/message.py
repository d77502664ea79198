"""MessageSend: a message to a phone that arrives exactly as asked, or is refused here.

Written, it is an action like any other. Read, it is what the server makes of the action.

The text of a message: ``Body`` or ``Base64Body``, how much fits, and cutting what does not.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from dataclasses import fields as dataclass_fields
from typing import Any, Dict, List, Optional, Tuple, Type, TypeVar, Union

from .._text import get_header, to_exact_bytes, to_exact_str, to_text
from ..exceptions import BodyTooLong, InvalidAddress, InvalidBody, TooManyLines
from ..headers import Pair, Pairs, to_exact_pairs
from ..limits import MAX_ACTION_LINE, MAX_ACTION_LINES, MAX_BASE64_BODY, MAX_BODY
from ..messages import Action, Banner, Message, check_action_id, encode_action
from .fields import MessageFields
from .technology import check_technology, get_technology
from .variables import effective_variables, variable_headers

S = TypeVar("S", bound="MessageSend")


class MessageSend(Action):
    """``Action: MessageSend``: an out-of-call message, checked so that it arrives as it is.

    Needs Asterisk 11 or later and the write class ``message``. The rules depend on the technology
    in front of the destination's first colon: ``sip:``, ``pjsip:``, ``xmpp:``, in small letters;
    any other has only those of AMI itself. They were found by sending to 16.28 and 22.10 and
    comparing with what arrived. The text goes out as ``Body`` where it survives that (no CR or LF,
    no byte up to 0x20 in front, at most 1016 bytes), else as ``Base64Body`` (at most 757 bytes),
    else it is refused. ``Action("MessageSend", [...])`` sends what you write, unchecked.

    What the server's own settings change, no client can see: ``fromuser``, ``fromdomain`` and
    ``usereqphone`` of a chan_sip peer, ``user_eq_phone`` of a pjsip endpoint, and that chan_sip
    adds its port to the host of From where it listens on another than 5060.

    :param to: the ``To`` header (str): ``"pjsip:alice"``, ``"sip:alice"``, ``"xmpp:a@host"``.
        ``pjsip:sip:user@host`` needs an endpoint named ``default_outbound_endpoint``; of several
        contacts of an AOR one is reached. An endpoint without ``aors`` crashes 22.10 (3 of 3).
    :param body: the text (str, sent as UTF-8, or bytes, sent as they are).
    :param from_: the ``From`` header (str); mandatory for xmpp. For ``sip:`` a name,
        ``Name <sip:user@host>`` or ``Name <user>``; for ``pjsip:`` a URI or
        ``Name <sip:user@host>``; in both without port or parameters.
    :param variables: names and values (str), a mapping or pairs. They become SIP headers, under
        the names you give (``Content-Type`` keeps its own spelling). Blanks around a value go out
        as they are, and phones trim them. There is one ``Variable`` header for each, or, beyond the
        lines that an action may have, for as many as a line holds.
    :param destination: the ``Destination`` header (str), which then routes in place of ``to``;
        since Asterisk 16.22, 18.8 and 19.0, ignored by older ones. ``to`` is then the To header
        that a phone sees, for ``pjsip:`` alone.
    :param action_id: the ActionID (str, at most 67 bytes).
    :raises TypeError: naming the argument, or the variable, and what to give.
    :raises BodyTooLong: with the limit for this text.
    :raises InvalidBody: for NUL, a lone surrogate, and for xmpp what XML cannot hold.
    :raises InvalidVariable: for a variable that would be dropped, changed, or do damage.
    :raises InvalidAddress: for a To, From or Destination that would not be used as written.
    :raises LineTooLong, TooManyLines: for what the server's buffers cannot hold.
    """

    __slots__ = ("_fields",)

    def __init__(
        self,
        to: str,
        body: Union[str, bytes] = "",
        from_: Optional[str] = None,
        variables: Optional[Pairs] = None,
        destination: Optional[str] = None,
        action_id: Optional[str] = None,
    ) -> None:
        fields = MessageFields(
            to=to_exact_str(to, "to"),
            from_=None if from_ is None else to_exact_str(from_, "from_"),
            destination=(None if destination is None else to_exact_str(destination, "destination")),
            body=_plain_body(body),
            variables=(() if variables is None else tuple(to_exact_pairs(variables, "variables"))),
        )
        check_technology(fields.target_header, fields.target)
        get_technology(fields.target).check(fields)
        pairs = [("Action", "MessageSend")]
        if action_id is not None:
            action_id = to_exact_str(action_id, "action_id")
            check_action_id(action_id)
            pairs.append(("ActionID", action_id))
        for name, header in _ADDRESSES:
            value = getattr(fields, name)
            if value is not None:
                pairs.append((header, value))
        # The body has a line, and so has the ActionID that a session adds where there is none.
        others = len(pairs) + 1 + (action_id is None)
        headers = variable_headers(fields.variables, MAX_ACTION_LINES - others)
        count = others + len(headers)
        if count > MAX_ACTION_LINES:
            raise TooManyLines(
                f"the message has {len(fields.variables)} variables and its action over "
                f"{MAX_ACTION_LINES} lines; send fewer variables",
                field="Variable",
                limit=MAX_ACTION_LINES,
                actual=count,
                action_id=action_id,
            )
        Message.__init__(self, encode_action([*pairs, *headers, body_header(fields.body)]))
        self._fields: Optional[MessageFields] = fields

    @classmethod
    def from_wire(cls: Type[S], wire: bytes) -> S:
        """Return a message of just these bytes, as if received; nothing is checked."""
        message = super().from_wire(wire)
        message._fields = None
        return message

    @property
    def fields(self) -> MessageFields:
        """The fields of the message as the server reads them (:class:`MessageFields`)."""
        fields = self._fields
        if fields is None:
            fields = self._fields = _read_fields(self.wire)
        return fields

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
        """The text as it arrives (bytes)."""
        return self.fields.body

    @property
    def text(self) -> str:
        """The text as it arrives (str; bytes that are no UTF-8 become lone surrogates)."""
        return to_text(self.body)

    @property
    def variables(self) -> Tuple[Pair, ...]:
        """The variables in order: pairs of name and value (str), before escaping."""
        return self.fields.variables

    @property
    def destination(self) -> Optional[str]:
        """The ``Destination`` header (str), or None."""
        return self.fields.destination

    @property
    def technology(self) -> str:
        """What stands before the first colon of the destination, in lower case (str)."""
        return self.fields.technology

    def check_server(self, banner: Banner) -> None:
        """Refuse what this version of the server would not send as it is asked.

        :raises InvalidAddress: for a Destination that it ignores (before 16.22, 18.8 and 19.0), and
            for ``pjsip:`` a From with a semicolon (exact on 22.10, cut on 16.28), a To with a name
            beside a Destination (exact on 16.28, ignored on 22.10), and one that repeats it with an
            endpoint and a name (exact on 22.10).
        """
        fields = self.fields
        try:
            get_technology(fields.target).check_server(fields, banner)
        except InvalidAddress as error:
            error.action_id = self.action_id
            raise

    def _content(self) -> Tuple[Any, ...]:
        return self.fields, self.action_id

    def __repr__(self) -> str:
        return (
            f"<MessageSend to={self.to!r} from_={self.from_!r} body={len(self.body)} bytes "
            f"variables={[name for name, _ in self.variables]} action_id={self.action_id!r}>"
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
    return MessageSend.from_wire(action.wire)


#: The fields that are one header each, sent and read unchanged: their names and the headers.
_ADDRESSES = [
    (field.name, field.metadata["header"])
    for field in dataclass_fields(MessageFields)
    if field.name not in ("body", "variables")
]


def _read_fields(wire: bytes) -> MessageFields:
    """Return the fields of a MessageSend as the server reads them."""
    found: Dict[str, Any] = {
        name: to_text(get_header(wire, header.encode())) or None for name, header in _ADDRESSES
    }
    found["to"] = found["to"] or ""
    encoded = get_header(wire, b"Base64Body")
    body = decode_base64(encoded) if encoded else get_header(wire, b"Body")
    return MessageFields(body=body, variables=effective_variables(wire), **found)


def _plain_body(body: Union[str, bytes]) -> bytes:
    try:
        return to_exact_bytes(body, "body")
    except UnicodeEncodeError as error:
        start = error.start
    # Raised from here, as the error above holds the text.
    raise InvalidBody(
        f"the text holds a lone surrogate at character {start}, which UTF-8 cannot carry; give "
        "bytes to send such a text as it is",
        field="Body",
    )


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64_DIGITS = bytes(byte if byte in _BASE64 else _BASE64[-1] for byte in range(256))

#: Characters of base64 that the line of ``Base64Body`` holds.
_BASE64_ROOM = MAX_ACTION_LINE - len("Base64Body: ")

_JOINER = "\u200d"


def is_plain(body: bytes) -> bool:
    """Whether ``Body`` carries a text unchanged, and not only ``Base64Body``.

    Not where a line ends in it, and not where the server would strip a blank from its front.
    """
    return not body or (body[0] > 0x20 and b"\n" not in body and b"\r" not in body)


def max_size(body: bytes) -> int:
    """How many bytes a text of this kind may have."""
    return MAX_BODY if is_plain(body) else MAX_BASE64_BODY


def body_header(body: bytes) -> Pair:
    """The name and value of the header that carries a text unchanged.

    :raises BodyTooLong: when neither ``Body`` nor ``Base64Body`` does.
    """
    limit = max_size(body)
    if len(body) > limit:
        why = "" if is_plain(body) else " with line breaks or with a blank in front"
        raise BodyTooLong(
            f"the text has {len(body)} bytes and AMI carries at most {limit} of a text{why}; "
            "shorten it, or send the parts that split_body(text) gives",
            field="Body",
            limit=limit,
            actual=len(body),
        )
    if is_plain(body):
        return "Body", to_text(body)
    # What is cut off here is padding, which decoding does without (all of 11.25, 16.28, 22.10).
    return "Base64Body", to_text(b2a_base64(body, newline=False)[:_BASE64_ROOM])


def decode_base64(data: bytes) -> bytes:
    """Base64 as Asterisk decodes it, without fail (16.28, 22.10).

    It ends at the first ``=``; a character that is none of base64 counts as the last of them;
    bits that fill no byte are dropped; what is decoded ends at a NUL.

    :param data: the value of a ``Base64Body`` header (bytes).
    """
    digits = data.partition(b"=")[0].translate(_BASE64_DIGITS)
    size = len(digits) * 6 // 8
    return a2b_base64(digits + b"A" * (-len(digits) % 4))[:size].partition(b"\0")[0]


def split_body(text: str) -> List[str]:
    """Cut a text into parts that each fit one MessageSend, and that joined give the text.

    A part is cut after a line end where there is one in its second half, else after a blank,
    else between two characters as a reader sees them (base and accents, emoji sequences, flags:
    as far as the standard library's Unicode data tells), and never inside a character.

    :param text: any text UTF-8 can carry (str).
    :return: the parts (list of str); the text alone, even an empty one, where it fits.
    :raises InvalidBody: for a lone surrogate.

    >>> [len(part) for part in split_body("x" * 2000)]
    [1016, 984]
    """
    text = to_exact_str(text, "text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidBody(
            f"the text holds a lone surrogate at character {error.start}, which UTF-8 cannot "
            "carry; remove it",
            field="Body",
        ) from None
    parts: List[str] = []
    start = 0
    while True:
        window = text[start : start + MAX_BODY + 1]
        if start + len(window) == len(text) and _fits(window):
            return [*parts, window]
        size = _cut(window)
        parts.append(window[:size])
        start += size


def _cut(window: str) -> int:
    """How many characters of the window make the next part; the window has too many."""
    end = _prefix(window, MAX_BODY)
    if not is_plain(window[:end].encode()):
        end = _prefix(window, MAX_BASE64_BODY)
        if is_plain(window[:end].encode()):
            # The line end that made it Base64Body is farther on: up to there, Body carries it.
            end = min(window.find(char) for char in "\r\n" if char in window)
    half = end // 2
    for found in (window.rfind("\n", half, end), window.rfind(" ", half, end)):
        if found != -1 and _is_boundary(window, found + 1):
            return found + 1
    for place in range(end, half, -1):
        if _is_boundary(window, place):
            return place
    return _prefix(window, max_size(window[: _prefix(window, MAX_BODY)].encode()))


def _fits(text: str) -> bool:
    body = text.encode()
    return len(body) <= max_size(body)


def _prefix(window: str, limit: int) -> int:
    """Most characters of the window that have at most ``limit`` bytes."""
    return len(window.encode()[:limit].decode("utf-8", "ignore"))


def _is_boundary(text: str, index: int) -> bool:
    """Whether a reader sees one character end and another begin before ``index``."""
    from unicodedata import category, combining

    before, after = text[index - 1], text[index]
    if before in "\r\n":
        return before == "\n" or after != "\n"
    if _JOINER in (before, after):
        return False
    if combining(after) or category(after) in ("Mn", "Me", "Mc"):  # accents, variation selectors
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False  # a skin tone; the tags of a subdivision's flag
    if _is_flag_half(before) and _is_flag_half(after):
        run = 1
        while run < index and _is_flag_half(text[index - 1 - run]):
            run += 1
        return run % 2 == 0
    return not (_is_hangul_part(before) and _is_hangul_part(after, initial=False))


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _is_hangul_part(char: str, *, initial: bool = True) -> bool:
    # Conjoining jamo; a syllable block takes a vowel or a final consonant, too.
    if initial:
        return "\u1100" <= char <= "\u11ff" or "\uac00" <= char <= "\ud7a3"
    return "\u1160" <= char <= "\u11ff"
