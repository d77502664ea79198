"""The damage that a rejected message would do: predicates on the responses and on what arrived."""

from __future__ import annotations

import re
from typing import Any, Callable, List, NamedTuple, Tuple


class Raw(NamedTuple):
    """The result of bytes that were written without a check."""

    #: The ``Message`` of each response to them, in order.
    responses: Tuple[bytes, ...]
    #: The messages that the phone received (of :class:`tests.live.phone.SipMessage`).
    messages: Tuple[Any, ...]


class XmppRaw(NamedTuple):
    """The same, with the texts that an XMPP client received."""

    responses: Tuple[bytes, ...]
    texts: Tuple[str, ...]


#: Return True if the damage is done, by a Raw or an XmppRaw.
Damage = Callable[[Any], bool]

SUCCESS = (b"Message successfully sent",)

#: A valid header name in SIP (RFC 3261, token).
_TOKEN = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]+")


def only(raw: Raw) -> Any:
    """Return the one message that the phone received."""
    (message,) = raw.messages
    return message


def lost(raw: Raw) -> bool:
    """The response is Success, and nothing arrives."""
    return raw.responses == SUCCESS and not raw.messages


def unknown(raw: Raw) -> bool:
    """The server does not say which technology it did not find."""
    return raw.responses == (b"Message technology not found.",) and not raw.messages


def failed(raw: Raw) -> bool:
    """The server returns an error without a reason."""
    return raw.responses[0] != SUCCESS[0] and not raw.messages


def too_many_lines(raw: Raw) -> bool:
    """The server says that there are too many lines."""
    return failed(raw) and b"Too many lines" in raw.responses[0]


def undecodable(raw: Raw) -> bool:
    """The message that arrives is not UTF-8."""
    try:
        only(raw).raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def no_token(raw: Raw) -> bool:
    """The message has a header whose name no phone can parse."""
    return any(not _TOKEN.fullmatch(name) for name, _ in only(raw).headers)


def no_length(raw: Raw) -> bool:
    """The message has no Content-Length."""
    return only(raw).content_length is None


def body_is(body: bytes) -> Damage:
    """The phone receives this body, which is not the one that was given."""
    return lambda raw: bool(only(raw).body == body)


def body_is_not(body: bytes) -> Damage:
    """The phone receives another body, or none."""
    return lambda raw: all(message.body != body for message in raw.messages)


def from_is(pattern: str) -> Damage:
    """The From header that the phone receives starts with a match of the pattern."""
    return lambda raw: _header_is(raw, "From", pattern)


def from_is_not(data: bytes) -> Damage:
    """No From header that the phone receives contains these bytes."""
    return lambda raw: not any(data in (m.header("From") or b"") for m in raw.messages)


def to_is(pattern: str) -> Damage:
    """The To header that the phone receives starts with a match of the pattern."""
    return lambda raw: _header_is(raw, "To", pattern)


def _header_is(raw: Raw, name: str, pattern: str) -> bool:
    return re.match(pattern.encode(), only(raw).header(name) or b"") is not None


def uri_is(uri: str) -> Damage:
    """The phone receives this request URI; ``{at}`` in it is the phone's address."""

    def damage(raw: Raw) -> bool:
        # Only the message itself shows the port.
        found = only(raw).request_uri
        port = re.findall(r":([0-9]{2,})", found)[-1]
        return bool(found == uri.replace("{at}", f"127.0.0.1:{port}"))

    return damage


def values(name: str, *expected: bytes) -> Damage:
    """The header has these values, and no others."""
    return lambda raw: _values(only(raw), name) == list(expected)


def has_value(name: str, value: bytes) -> Damage:
    """The header has this value, among others."""
    return lambda raw: value in _values(only(raw), name)


def _values(message: Any, name: str) -> List[bytes]:
    return [value for key, value in message.headers if key.lower() == name.lower().encode()]


def two(name: str) -> Damage:
    """The phone receives two headers of that name, long or compact."""
    return lambda raw: len(only(raw).headers_named(name)) == 2


def without(value: bytes) -> Damage:
    """No header that the phone receives has this value."""
    return lambda raw: all(found != value for _, found in only(raw).headers)


def no_header(name: str) -> Damage:
    """No message that arrives has such a header."""
    return lambda raw: not any(_values(message, name) for message in raw.messages)


def contains(data: bytes) -> Damage:
    """The message that arrives contains these bytes."""
    return lambda raw: data in only(raw).raw


def either(*damages: Damage) -> Damage:
    """One of these, depending on the version of the server."""
    return lambda raw: any(damage(raw) for damage in damages)


def xmpp_failed(raw: XmppRaw) -> bool:
    """The server returns an error without a reason."""
    return raw == ((b"Message failed to send.",), ())


def xmpp_breaks(raw: XmppRaw) -> bool:
    """The response is Success, the message is lost, and Asterisk loses its XMPP connection."""
    return raw == (SUCCESS, ())


def xmpp_text_is(text: str) -> Damage:
    """The response is Success, and the client receives this text alone."""
    return lambda raw: bool(raw == (SUCCESS, (text,)))
