"""The law of MessageSend: exactly as asked, or refused."""

from __future__ import annotations

import json
import pickle
from typing import List, Optional, Tuple, Union

from amiproto import (
    Action,
    Banner,
    Connection,
    InvalidAddress,
    LocalProtocolError,
    MessageSend,
    Role,
    parse_message_send,
)
from amiproto._text import to_text
from amiproto.limits import MAX_ACTION_ID, MAX_ACTION_LINE, MAX_ACTION_LINES

from .reading import BANNERS, fields_of, read

#: What is there, in bits, with the technology; and what of it is repeated, how often.
MESSAGE_HEAD = 2

_TECHNOLOGIES = (b"", b"sip:", b"pjsip:", b"xmpp:")

#: Between the fields, as it stands in none that is accepted but a text.
BETWEEN = b"\x1f"


def message_send(data: bytes) -> List[str]:
    """A message of any fields is refused, or read by the server as just those fields.

    In order: To, From, Destination, ActionID, the text, and a name and a value of each variable.
    """
    bits, repeat = data[:MESSAGE_HEAD].ljust(MESSAGE_HEAD, b"\0")
    fields = data[MESSAGE_HEAD:].split(BETWEEN)
    fields += [b""] * (5 - len(fields))
    # So that most have a technology of their own, as most rules are for them.
    route = 2 if bits & 4 else 0
    technology = _TECHNOLOGIES[bits >> 4 & 3]
    if not fields[route].startswith(technology):
        fields[route] = technology + fields[route]
    # So that a short input meets the limits of lines and of their number.
    often, which = 1 << (repeat & 7), repeat >> 3
    if 0 < which < len(fields):
        fields[which] *= often
    to, from_, destination, action_id, _, *named = map(_text, fields)
    variables = list(zip(named[::2], named[1::2]))
    if which == len(fields):
        variables = [(f"{name}{i}", value) for name, value in variables for i in range(often)]
    try:
        message = exactly_or_refused(
            to,
            _text(fields[4]) if bits & 1 else fields[4],
            from_ if bits & 2 else None,
            variables,
            destination if bits & 4 else None,
            action_id if bits & 8 else None,
        )
    except LocalProtocolError as error:
        return [f"{type(error).__name__}: {error.field if error.field in _FIELDS else None}"]
    return [f"MessageSend {message.technology if message.technology in _KNOWN else None}"]


_FIELDS = ("To", "From", "Destination", "ActionID", "Body", "Variable")
_KNOWN = ("sip", "pjsip", "xmpp")


def _text(data: bytes) -> str:
    """Text of any bytes, with lone surrogates of each kind."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return to_text(data)


def exactly_or_refused(
    to: str,
    body: Union[str, bytes],
    from_: Optional[str],
    variables: List[Tuple[str, str]],
    destination: Optional[str],
    action_id: Optional[str],
) -> MessageSend:
    """A message that the server reads as it is asked for.

    :raises LocalProtocolError: where it is refused.
    """
    try:
        message = MessageSend(to, body, from_, variables, destination, action_id)
    except LocalProtocolError as error:
        assert error.outcome == "not_sent" and not error.retryable
        json.dumps(error.to_dict()).encode()
        str(error).encode()
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
        raise
    assert message.body == (body.encode() if isinstance(body, str) else body)
    assert (message.to, message.from_, message.destination) == (to, from_, destination)
    assert message.variables == tuple(variables) and message.action_id == action_id
    check_exact(message)
    if action_id is None:
        # There is always room for the ActionID that a session adds.
        check_exact(message.with_action_id("9" * MAX_ACTION_ID))
    for banner in BANNERS[:3]:
        try:
            message.check_server(Banner.from_wire(banner))
        except InvalidAddress as error:
            str(error).encode()
    return message


def check_exact(message: MessageSend) -> None:
    """The bytes of a message keep the rules of framing, and say the same on the server."""
    lines = message.wire.split(b"\r\n")
    assert lines[-2:] == [b"", b""] and len(lines) - 2 <= MAX_ACTION_LINES
    assert all(len(line) <= MAX_ACTION_LINE for line in lines)
    assert message.wire.count(b"\r\n\r\n") == 1
    assert message.wire.count(b"\n") == message.wire.count(b"\r") == len(lines) - 1
    assert b"\0" not in message.wire
    other = on_the_server(message)
    assert other == message and hash(other) == hash(message) and other.wire == message.wire
    assert fields_of(other) == fields_of(message) and other.action_id == message.action_id


def on_the_server(message: MessageSend) -> MessageSend:
    """What a server understands of the bytes that leave."""
    client = Connection(Role.CLIENT)
    read(client, [BANNERS[1]])
    action, _ = read(Connection(Role.SERVER), [client.send(message)]).events
    assert type(action) is Action and action.name == "MessageSend"
    return parse_message_send(action)
