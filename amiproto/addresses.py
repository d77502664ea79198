"""To, From and Destination of a message, and which of them a server uses as they are written.

Apart from MessageSend because each technology reads addresses by rules of its own, which stand in
no specification: they were found by sending addresses to real servers and looking at the phone.
"""

from __future__ import annotations

import re

from .errors import AddressRefused
from .limits import MAX_SIP_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

# Patterns are compiled where they are used: programs that send nothing need not wait for that.
_CONTROL = "[\x00-\x1f\x7f]"

# The user part of a SIP URI (RFC 3261), without the semicolon. Both stacks decode it and escape
# anew what must be: an escaped reserved character would come out bare, which is another user, and
# chan_sip would end it at an escaped NUL (16.28, 22.10).
_USER = (
    r"(?:[A-Za-z0-9\-_.!~*'()&=+$,/?]|%(?!00|2[46BbCcFf]|3[BbDdFf])[0-9A-Fa-f]{2})+"
)  # fmt: skip
_NAME = r"[A-Za-z0-9._\-]+"
_HOST = rf"(?:{_NAME}|\[[0-9A-Fa-f:.]+\])"

# What pjsip (16.28, 22.10) puts into From as it is. It drops port, password, parameters and
# headers of a URI, turns sips into sip, and reads whatever is no SIP URI as USER or USER@HOST,
# with brackets and all. 16.28 cuts a From at its first semicolon, wherever it stands.
_PJSIP_FROM = (
    r"""(?:"(?:[^"\\;]|\\[^;])*"\ *|[^"\\<:;]*)"""
    rf"""<[Ss][Ii][Pp]:(?:{_USER}@)?{_HOST}>"""
    rf"""|[Ss][Ii][Pp]:(?:{_USER}@)?{_HOST}|{_USER}(?:@{_HOST})?"""
)

# What chan_sip (16.28) puts into From as it is: a name and a URI, or a name and a user. It drops
# port, password, parameters and headers, turns sips into sip, and loses the brackets of IPv6.
_SIP_FROM = (
    r"""(?:"((?:[^"\\]|\\.)+)"\ *|([^"\\<]*))"""
    rf"""<(?:[Ss][Ii][Pp]:({_USER})@{_NAME}|([^<>%@:]+))>\ *"""
)

# What chan_sip (16.28) sends to as it is written: a peer, user@peer, user@host:port. It escapes
# the user, percent signs too, and drops a display name, parameters and headers.
_SIP_TO = r"(?P<b><[Ss][Ii][Pp]:)?(?:([^%@<>]*)@)?[^%@<>;?/ ]+(?(b)>)"

# What pjsip takes for the To header where Destination routes: 16.28 takes a name and brackets too,
# 22.10 ignores those; neither writes a port, nor every parameter.
_PJSIP_TO_HEADER = rf"(?:pjsip:)?[Ss][Ii][Pp]:(?:{_USER}@)?{_HOST}"

# Bytes that chan_sip need not escape in a user (16.28).
_UNESCAPED = rb"[A-Za-z0-9\-_.!~*'()&=+$,;?/]"
_ESCAPE = rb"%(..)"
_PAIR = r"\\(.)"
#: Of a character in UTF-8; one that takes a backslash, too, has two with it.
_MOST_BYTES = 4


def check_address(field: str, value: str) -> None:
    """Refuse an address that AMI itself would not carry as it is.

    :raises AddressRefused: for an empty one, a blank in front, control characters, surrogates.
    """
    if value.isprintable() and value[:1] not in ("", " "):
        return  # the usual case, told in one pass
    if not value:
        raise AddressRefused(f"{field} is empty; name one, or leave it out", field=field)
    if re.search(_CONTROL, value):
        raise AddressRefused(
            f"{field} holds a control character, which would end the line or be changed; "
            "remove it",
            field=field,
        )
    if value[0] == " ":
        raise AddressRefused(
            f"{field} starts with a blank, which the server strips; remove it", field=field
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise AddressRefused(
            f"{field} holds a lone surrogate, which UTF-8 cannot carry; remove it", field=field
        ) from None


def check_target(technology: str, to: str, destination: Optional[str]) -> None:
    """Refuse a To, or Destination, that would lead elsewhere or take more along than it says.

    :raises AddressRefused: naming what the technology would do to it.
    """
    field, target = ("To", to) if destination is None else ("Destination", destination)
    if technology == "pjsip":
        _check_pjsip_target(field, target)
    elif technology == "sip":
        _check_sip_target(field, target)
    elif technology != "xmpp":
        return
    if destination is None or to == destination:
        return
    if technology != "pjsip":
        raise AddressRefused(
            f"where there is a Destination, {technology} makes no use of To; "
            "give the destination as To, too",
            field="To",
        )
    if not re.fullmatch(_PJSIP_TO_HEADER, to):
        raise AddressRefused(
            "where there is a Destination, pjsip puts only a bare URI, such as "
            f"sip:user@host, into the To header, and not {to!r}",
            field="To",
        )


def check_from(technology: str, from_: Optional[str]) -> None:
    """Refuse a From that the phone would not see as it is written.

    :raises AddressRefused: naming the right form.
    """
    if from_ is None:
        if technology == "xmpp":
            raise AddressRefused(
                "an xmpp message needs a From: 'xmpp:' and the account's section of xmpp.conf",
                field="From",
            )
    elif technology == "pjsip":
        if not re.fullmatch(_PJSIP_FROM, from_):
            raise AddressRefused(
                f"pjsip would change or drop the From {from_!r}; write sip:user@host or "
                "'Name <sip:user@host>', without port, parameters or semicolon, and a name with "
                'a quote, backslash or colon as "Name" with backslashes',
                field="From",
            )
    elif technology == "sip":
        _check_sip_from(from_)


def _check_pjsip_target(field: str, target: str) -> None:
    if target[-1] == " ":
        # 16.28 and 22.10 look for an endpoint of that name, find none, and say Success.
        raise AddressRefused(
            f"{field} ends with a blank, which would be a part of the name; remove it", field=field
        )
    if "?" in target:
        _, at, rest = target.partition("@")
        if "?" in (rest if at else target):
            # 16.28 and 22.10 decode them and add them to the message: %0d%0a is a line end there.
            raise AddressRefused(
                f"{field} has headers behind a question mark, which pjsip would put into the "
                "message unchecked, line ends too; give them as variables",
                field=field,
            )


def _check_sip_target(field: str, target: str) -> None:
    rest = target[4:]
    found = re.fullmatch(_SIP_TO, rest)
    if found is None or rest[:4].lower() == "sip:" or rest[:5].lower() == "sips:":
        raise AddressRefused(
            f"chan_sip would not send to {target!r} as it is written; write sip:peer, "
            "sip:user@peer or sip:user@host:port, without percent signs or anything behind",
            field=field,
        )
    user = found.group(2)
    if user is not None:
        _check_sip_length(field, "user", _escaped_size(user.encode()))


def _check_sip_from(from_: str) -> None:
    if "<" not in from_:
        if "@" in from_ or ":" in from_:
            raise AddressRefused(
                f"chan_sip takes the bare address {from_!r} for a display name; "
                f"write 'Name <sip:user@host>'",
                field="From",
            )
        _check_sip_length("From", "name", len(from_.encode()) + len(re.findall(r'["\\]', from_)))
        return
    found = re.fullmatch(_SIP_FROM, from_)
    if found is None:
        raise AddressRefused(
            f"chan_sip would change or drop the From {from_!r}; write 'Name <sip:user@host>', "
            "without port or parameters, and a name with a quote or backslash as "
            '"Name" with backslashes',
            field="From",
        )
    quoted, plain, user, extension = found.groups()
    if not quoted and not plain:
        raise AddressRefused(
            f"chan_sip puts its own name in front of {from_!r}; write 'Name {from_}'",
            field="From",
        )
    if user is None:
        _check_sip_length("From", "user", _escaped_size(extension.encode()))
    elif len(from_) * _MOST_BYTES <= MAX_SIP_NAME:
        return  # the usual case
    else:
        decoded = re.sub(_ESCAPE, lambda found: bytes([int(found.group(1), 16)]), user.encode())
        _check_sip_length("From", "user", _escaped_size(decoded))
    name = re.sub(_PAIR, r"\1", quoted) if quoted else plain.rstrip(" ")
    _check_sip_length("From", "name", len(name.encode()) + len(re.findall(r'["\\]', name)))


def _check_sip_length(field: str, part: str, size: int) -> None:
    if size > MAX_SIP_NAME:
        raise AddressRefused(
            f"the {part} in {field} has {size} bytes as chan_sip writes it, and it would be cut "
            f"after {MAX_SIP_NAME}; shorten it",
            field=field,
            limit=MAX_SIP_NAME,
            actual=size,
        )


def _escaped_size(text: bytes) -> int:
    return 3 * len(text) - 2 * len(re.findall(_UNESCAPED, text))
