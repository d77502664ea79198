"""Properties of MessageSend: the exact message, or a rejection."""

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

#: The first byte selects fields and a technology; the second one repeats a field.
MESSAGE_HEAD = 2

_TECHNOLOGIES = (b"", b"sip:", b"pjsip:", b"xmpp:")

#: The separator of fields. Of all fields, only a body may contain it.
BETWEEN = b"\x1f"


def message_send(data: bytes) -> List[str]:
    """Check that a message is rejected, or decoded by the server to the same fields.

    The fields: To, From, Destination, ActionID, body, and name and value of each variable.
    """
    bits, repeat = data[:MESSAGE_HEAD].ljust(MESSAGE_HEAD, b"\0")
    fields = data[MESSAGE_HEAD:].split(BETWEEN)
    fields += [b""] * (5 - len(fields))
    # Most messages get a technology, because most rules belong to one.
    route = 2 if bits & 4 else 0
    technology = _TECHNOLOGIES[bits >> 4 & 3]
    if not fields[route].startswith(technology):
        fields[route] = technology + fields[route]
    # Repetitions let short inputs reach the limits.
    often, which = 1 << (repeat & 7), repeat >> 3
    if 0 < which < len(fields):
        fields[which] *= often
    to, from_, destination, action_id, _, *named = map(_text, fields)
    variables = list(zip(named[::2], named[1::2]))
    if which == len(fields):
        variables = [(f"{name}{i}", value) for name, value in variables for i in range(often)]
    try:
        message = exact_or_rejected(
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
    """Decode any bytes to text, with lone surrogates of each kind."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return to_text(data)


def exact_or_rejected(
    to: str,
    body: Union[str, bytes],
    from_: Optional[str],
    variables: List[Tuple[str, str]],
    destination: Optional[str],
    action_id: Optional[str],
) -> MessageSend:
    """Return a message after checking that the server decodes it to the same fields.

    :raises LocalProtocolError: the message is rejected.
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
    # The server strips leading spaces, which are no part of an address.
    to = to if destination is None else to.lstrip(" ")
    from_ = from_ and from_.lstrip(" ")
    assert (message.to, message.from_, message.destination) == (to, from_, destination)
    assert message.variables == tuple(variables) and message.action_id == action_id
    check_exact(message)
    if action_id is None:
        # There must be room for the ActionID that a session adds.
        check_exact(message.with_action_id("9" * MAX_ACTION_ID))
    for banner in BANNERS[:3]:
        try:
            message.check_server(Banner.from_wire(banner))
        except InvalidAddress as error:
            str(error).encode()
    return message


def check_exact(message: MessageSend) -> None:
    """Check the framing of a message, and that the server decodes it to the same fields."""
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
    """Return the message as a server decodes it."""
    client = Connection(Role.CLIENT)
    read(client, [BANNERS[1]])
    action, _ = read(Connection(Role.SERVER), [client.send(message)]).events
    assert type(action) is Action and action.name == "MessageSend"
    return parse_message_send(action)
