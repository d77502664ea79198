"""What a message that ought to be refused does: predicates on the answers and what arrived.

Separate from the test that asks them, as the table of refusals names one in many of its rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple, Tuple

if TYPE_CHECKING:
    from tests.live.delivery import Raw
    from tests.live.phone import SipMessage

#: Whether the damage is done, by a Raw or, for xmpp, an XmppRaw.
Damage = Callable[[Any], bool]

SUCCESS = (b"Message successfully sent",)

#: What a header of SIP may be called (RFC 3261, token).
_TOKEN = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]+")


class XmppRaw(NamedTuple):
    """What came of bytes that no client had a look at, where they were for an XMPP client."""

    #: The ``Message`` of each answer to them, in order.
    answers: Tuple[bytes, ...]
    #: What the XMPP client got.
    texts: Tuple[str, ...]


def only(raw: Raw) -> SipMessage:
    """The one message that the phone got."""
    (message,) = raw.messages
    return message


def lost(raw: Raw) -> bool:
    """Success, and nothing at the phone."""
    return raw.answers == SUCCESS and not raw.messages


def unknown(raw: Raw) -> bool:
    """The server does not say which technology it missed."""
    return raw.answers == (b"Message technology not found.",) and not raw.messages


def failed(raw: Raw) -> bool:
    """An error in the server's words, which do not say what was wrong."""
    return raw.answers[0] != SUCCESS[0] and not raw.messages


def too_many_lines(raw: Raw) -> bool:
    """The server says so."""
    return failed(raw) and b"Too many lines" in raw.answers[0]


def undecodable(raw: Raw) -> bool:
    """What arrives is no text at all."""
    try:
        only(raw).raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def no_token(raw: Raw) -> bool:
    """The message has a header whose name no phone can read."""
    return any(not _TOKEN.fullmatch(name) for name, _ in only(raw).headers)


def no_length(raw: Raw) -> bool:
    """The message does not say where it ends."""
    return only(raw).content_length is None


def body_is(text: bytes) -> Damage:
    """The phone gets this text, and it is not the one that was asked for."""
    return lambda raw: only(raw).body == text


def body_is_not(text: bytes) -> Damage:
    """The phone gets another text, or none."""
    return lambda raw: all(message.body != text for message in raw.messages)


def from_is(pattern: str) -> Damage:
    """The From that the phone sees starts so."""
    return lambda raw: _header_is(raw, "From", pattern)


def to_is(pattern: str) -> Damage:
    """The To that the phone sees starts so."""
    return lambda raw: _header_is(raw, "To", pattern)


def _header_is(raw: Raw, name: str, pattern: str) -> bool:
    return re.match(pattern.encode(), only(raw).header(name) or b"") is not None


def uri_is(uri: str) -> Damage:
    """The message comes to the phone, whose place is ``{at}``, under this request line."""

    def damage(raw: Raw) -> bool:
        # The port is known only by the message itself.
        found = only(raw).request_uri
        port = re.findall(r":([0-9]{2,})", found)[-1]
        return found == uri.replace("{at}", f"127.0.0.1:{port}")

    return damage


def values(name: str, *wanted: bytes) -> Damage:
    """The header has these values, and no others."""
    return lambda raw: _values(only(raw), name) == list(wanted)


def has_value(name: str, value: bytes) -> Damage:
    """The header has this value, among others."""
    return lambda raw: value in _values(only(raw), name)


def _values(message: SipMessage, name: str) -> List[bytes]:
    return [value for key, value in message.headers if key.lower() == name.lower().encode()]


def two(name: str) -> Damage:
    """The phone gets two headers of that name, long or compact."""
    return lambda raw: len(only(raw).headers_named(name)) == 2


def without(value: bytes) -> Damage:
    """No header that the phone gets has this value."""
    return lambda raw: all(found != value for _, found in only(raw).headers)


def no_header(name: str) -> Damage:
    """No message that arrives has such a header."""
    return lambda raw: not any(_values(message, name) for message in raw.messages)


def contains(data: bytes) -> Damage:
    """The phone gets these bytes as they are."""
    return lambda raw: data in only(raw).raw


def either(*damages: Damage) -> Damage:
    """One of them, which versions of the server differ in."""
    return lambda raw: any(damage(raw) for damage in damages)


def xmpp_failed(raw: XmppRaw) -> bool:
    """An error in the server's words, which do not say what was wrong."""
    return raw == ((b"Message failed to send.",), ())


def xmpp_breaks(raw: XmppRaw) -> bool:
    """Success; the message is lost, and Asterisk is thrown out for a while."""
    return raw == (SUCCESS, ())


def xmpp_text_is(text: str) -> Damage:
    """Success, and the client gets this text and nothing of the rest."""
    return lambda raw: bool(raw == (SUCCESS, (text,)))
