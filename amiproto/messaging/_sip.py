"""The parts of a SIP URI, as patterns, and what to write in place of what does not fit them.

Both stacks take a URI apart and write it anew. They decode each part and escape what they think
must be escaped, and that is less than what was: so that ``%2B`` comes out as ``+``, which is
another user (RFC 3261, 19.1.4). What each stack escapes was seen by sending every byte, escaped and
not, in every place, to 16.28 and 22.10.

What chan_sip and pjsip have in common: variables become headers of one SIP message.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Pattern

from ..exceptions import InvalidVariable
from ..limits import MAX_ACTION_LINE, MAX_DATAGRAM
from .fields import MessageFields
from .technology import Technology

#: What may stand in a user as it is (RFC 3261, user): both stacks leave it so.
USER_CHARACTER = r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]"

HOST_NAME = r"[A-Za-z0-9._\-]+"

#: An IPv6 address in its brackets. There is a colon in each, and around what has none pjsip drops
#: the brackets (16.28, 22.10).
IPV6 = r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]"

#: A leading zero would be dropped (16.28, 22.10).
PORT = r"[1-9][0-9]{0,4}"

#: A percent sign with two hex digits after it.
ESCAPE = r"%[0-9A-Fa-f]{2}"
LONE_PERCENT = r"%(?![0-9A-Fa-f]{2})"


def escape_except(*codes: str) -> str:
    """The pattern of an escaped byte which is none of these (two hex digits each)."""
    return rf"%(?!(?i:{'|'.join(codes)}))[0-9A-Fa-f]{{2}}"


def explain_invalid_uri(uri: str, in_user: Pattern[str], in_parameters: Pattern[str]) -> str:
    """What keeps a URI from being sent, and what to write; empty where there is no more to say.

    :param uri: a URI, or what should be one, without a name in front (str).
    :param in_user: the escapes that this stack does not leave as they are in a user.
    :param in_parameters: the same in parameters.
    """
    if uri[:5].lower() == "sips:":
        return "sips: would become sip:, or nothing would be sent; write sip:"
    if uri[:4].lower() == "tel:":
        return "tel: is no SIP; write sip:number@host"
    userinfo, _, place = uri.rpartition("@")
    if re.search(LONE_PERCENT, uri):
        return "a percent sign has no two hex digits after it; leave it out"
    lost = in_user.search(userinfo) or in_parameters.search(place)
    if lost:
        character = chr(int(lost.group()[1:], 16))
        if re.fullmatch(USER_CHARACTER, character):
            return (
                f"{lost.group()} would come out as a bare {character}, which is another address; "
                f"write {character} where you mean that"
            )
        return f"{lost.group()} would come out bare, or end the address; leave it out"
    foreign = re.search(r'[^\x21-\x7e]|["#<>\[\\\]^`{|}]', userinfo)
    if foreign:
        return f"{foreign.group()!r} has to be escaped; write {_escaped(foreign.group())}"
    bracket = re.search(r"\[[^:\[\]]*\]", place)
    if bracket:
        return f"{bracket.group()} is no IPv6 address, which has colons; leave the brackets out"
    foreign = re.search(r"[^A-Za-z0-9._\-:\[\]]", re.split("[;?]", place)[0])
    if foreign:
        return f"{foreign.group()!r} cannot stand in a host name; leave it out"
    if re.search(r":0[0-9]*(?:$|[;?])", place):
        return "the port starts with a zero, which would be dropped; leave the zero out"
    return ""


def explain_brackets(text: str) -> str:
    """What keeps ``Name <uri>`` from ending in a bracket; empty where it does, or has none."""
    _, opened, rest = text.rpartition("<")
    if not opened or rest.endswith(">"):
        return ""
    if ">" in rest:
        return "what stands after the bracket would be dropped; leave it out"
    return "the bracket is not closed; write 'Name <sip:user@host>'"


def _escaped(text: str) -> str:
    return "".join([f"%{byte:02X}" for byte in text.encode()])


#: A header name in SIP (RFC 3261, token). The server passes any other name through, blanks and
#: colons too, into a message that no phone can read (all of 11.25, 16.28, 22.10).
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"

#: Names that chan_sip and pjsip keep for themselves and drop from a message (16.28, 22.10);
#: Request-URI would even become the request line of chan_sip.
DROPPED_VARIABLES = frozenset(
    "to from via route contact call-id cseq allow content-length request-uri".split()
)

#: Headers that both stacks write themselves, under their compact names, which neither drops: the
#: phone gets two of it, From or Content-Length among them, and takes either (16.28, 22.10).
COMPACT_VARIABLES = MappingProxyType({
    "c": "Content-Type", "f": "From", "i": "Call-ID", "l": "Content-Length", "m": "Contact",
    "t": "To", "v": "Via",
})  # fmt: skip

#: Counted down by one before it is sent; a bad value makes chan_sip fail, and pjsip drop the
#: variables after it (16.28, 22.10).
DAMAGING_VARIABLES = frozenset({"max-forwards"})

#: Bytes that the headers of the server's own take at the most, addresses not counted; real ones
#: have 450 with a short host name (16.28, 22.10).
_SERVERS_HEADERS = 1024

#: Fewer lines of AMI than this cannot fill a datagram, whatever is in them.
_MANY_VARIABLES = MAX_DATAGRAM // MAX_ACTION_LINE // 2

_NAME = re.compile(TOKEN)


class SIPTechnology(Technology):
    """A technology whose messages are SIP requests."""

    __slots__ = ()

    def check(self, fields: MessageFields) -> None:
        """Refuse what one datagram does not hold, too."""
        super().check(fields)
        if len(fields.variables) < _MANY_VARIABLES:
            return
        size = len(fields.body) + _SERVERS_HEADERS
        size += sum([len(f"{name}: {value}\r\n".encode()) for name, value in fields.variables])
        # The addresses stand in several headers of the request.
        size += 3 * len(f"{fields.to}{fields.from_}{fields.destination}".encode())
        if size > MAX_DATAGRAM:
            raise InvalidVariable(
                f"the message would have about {size} bytes and a SIP datagram holds "
                f"{MAX_DATAGRAM}; send fewer or shorter variables",
                field="Variable",
                limit=MAX_DATAGRAM,
                actual=size,
            )

    def check_name(self, name: str) -> None:
        """Refuse a name that is none of SIP, or that the stacks drop, double or damage."""
        if not _NAME.fullmatch(name):
            super().check_name(name)
            raise InvalidVariable(
                f"the variable name {name!r} is no SIP header name; use letters, digits and "
                "-.!%*_+`'~",
                field=name,
            )
        lowered = name.lower()
        if lowered in DROPPED_VARIABLES:
            raise InvalidVariable(
                f"the server keeps {name!r} for itself and drops yours; use another name",
                field=name,
            )
        if lowered in COMPACT_VARIABLES:
            raise InvalidVariable(
                f"{name!r} is the short form of {COMPACT_VARIABLES[lowered]}, of which the phone "
                "would get two; use another name",
                field=name,
            )
        if lowered in DAMAGING_VARIABLES:
            raise InvalidVariable(
                f"{name!r} is changed, makes the server fail, or drops what comes after it; leave "
                "it out",
                field=name,
            )
