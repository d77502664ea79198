"""The parts of a SIP URI, as patterns, and what to write in place of what does not fit them.

Both stacks take a URI apart and write it anew. They decode each part and escape what they think
must be escaped, and that is less than what was: so that ``%2B`` comes out as ``+``, which is
another user (RFC 3261, 19.1.4). What each stack escapes was seen by sending every byte, escaped and
not, in every place, to 16.28 and 22.10.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Pattern

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


def advise(uri: str, in_user: Pattern[str], in_parameters: Pattern[str]) -> str:
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


def advise_brackets(text: str) -> str:
    """What keeps ``Name <uri>`` from ending in a bracket; empty where it does, or has none."""
    _, opened, rest = text.rpartition("<")
    if not opened or rest.endswith(">"):
        return ""
    if ">" in rest:
        return "what stands after the bracket would be dropped; leave it out"
    return "the bracket is not closed; write 'Name <sip:user@host>'"


def _escaped(text: str) -> str:
    return "".join([f"%{byte:02X}" for byte in text.encode()])
