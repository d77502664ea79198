"""MessageSend: a message to a phone that arrives exactly as asked, or is refused here.

Written, it is an action like any other. Read, it is what the server makes of the action.
"""

from __future__ import annotations

from ..encoding import check_action_id, encode_action
from ..errors import AddressRefused, BodyRefused, TooManyLines
from ..headers import plain_pairs
from ..limits import MAX_ACTION_LINES
from ..messages import Action, Message
from ..text import plain_bytes, plain_str, to_text, value_as_read
from .body import body_header, decode_base64
from .technologies import check_technology, technology_of
from .variables import kept_variables, variable_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple, Union

    from ..headers import Pair, Pairs
    from ..messages import Banner


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
    :raises BodyRefused: for NUL, a lone surrogate, and for xmpp what XML cannot hold.
    :raises VariableRefused: for a variable that would be dropped, changed, or do damage.
    :raises AddressRefused: for a To, From or Destination that would not be used as written.
    :raises LineTooLong, TooManyLines: for what the server's buffers cannot hold.
    """

    __slots__ = ()

    def __init__(
        self,
        to: str,
        body: Union[str, bytes] = "",
        from_: Optional[str] = None,
        variables: Optional[Pairs] = None,
        destination: Optional[str] = None,
        action_id: Optional[str] = None,
    ) -> None:
        to = plain_str(to, "to")
        from_ = None if from_ is None else plain_str(from_, "from_")
        destination = None if destination is None else plain_str(destination, "destination")
        text = _plain_body(body)
        named = [] if variables is None else plain_pairs(variables, "variables")
        if destination is None:
            check_technology("To", to)
        else:
            check_technology("Destination", destination)
        technology = technology_of(to if destination is None else destination)
        technology.check(to, from_, destination, text, named)
        pairs = [("Action", "MessageSend")]
        if action_id is not None:
            action_id = plain_str(action_id, "action_id")
            check_action_id(action_id)
            pairs.append(("ActionID", action_id))
        pairs.append(("To", to))
        if from_ is not None:
            pairs.append(("From", from_))
        if destination is not None:
            pairs.append(("Destination", destination))
        # The body has a line, and so has the ActionID that a session adds where there is none.
        others = len(pairs) + 1 + (action_id is None)
        headers = variable_headers(named, MAX_ACTION_LINES - others)
        count = others + len(headers)
        if count > MAX_ACTION_LINES:
            raise TooManyLines(
                f"the message has {len(named)} variables and its action over {MAX_ACTION_LINES} "
                "lines; send fewer variables",
                field="Variable",
                limit=MAX_ACTION_LINES,
                actual=count,
                action_id=action_id,
            )
        Message.__init__(self, encode_action([*pairs, *headers, body_header(text)]))

    @property
    def to(self) -> str:
        """The ``To`` header (str)."""
        return self._read(b"To")

    @property
    def from_(self) -> Optional[str]:
        """The ``From`` header (str), or None."""
        return self._read(b"From") or None

    @property
    def body(self) -> bytes:
        """The text as it arrives (bytes)."""
        encoded = value_as_read(self.wire, b"Base64Body")
        return decode_base64(encoded) if encoded else value_as_read(self.wire, b"Body")

    @property
    def text(self) -> str:
        """The text as it arrives (str; bytes that are no UTF-8 become lone surrogates)."""
        return to_text(self.body)

    @property
    def variables(self) -> Tuple[Pair, ...]:
        """The variables in order: pairs of name and value (str), before escaping."""
        return kept_variables(self.wire)

    @property
    def destination(self) -> Optional[str]:
        """The ``Destination`` header (str), or None."""
        return self._read(b"Destination") or None

    @property
    def technology(self) -> str:
        """What stands before the first colon of the destination, in lower case (str)."""
        return (self.destination or self.to).partition(":")[0].lower()

    def check_server(self, banner: Banner) -> None:
        """Refuse what this version of the server would not send as it is asked.

        :raises AddressRefused: for a Destination that it ignores (before 16.22, 18.8 and 19.0), and
            for ``pjsip:`` a From with a semicolon (exact on 22.10, cut on 16.28), a To with a name
            beside a Destination (exact on 16.28, ignored on 22.10), and one that repeats it with an
            endpoint and a name (exact on 22.10).
        """
        to, from_, destination = self.to, self.from_, self.destination
        technology = technology_of(to if destination is None else destination)
        try:
            technology.check_server(to, from_, destination, banner)
        except AddressRefused as error:
            error.action_id = self.action_id
            raise

    def _read(self, name: bytes) -> str:
        return to_text(value_as_read(self.wire, name))

    def _content(self) -> Tuple[Any, ...]:
        return self.to, self.body, self.from_, self.variables, self.destination, self.action_id

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


def _plain_body(body: Union[str, bytes]) -> bytes:
    try:
        return plain_bytes(body, "body")
    except UnicodeEncodeError as error:
        start = error.start
    # Raised from here, as the error above holds the text.
    raise BodyRefused(
        f"the text holds a lone surrogate at character {start}, which UTF-8 cannot carry; give "
        "bytes to send such a text as it is",
        field="Body",
    )
