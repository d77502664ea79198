"""Messages that chan_sip sends, up to Asterisk 20: ``sip:peer``, ``sip:user@host``."""

from __future__ import annotations

import re

from ..exceptions import InvalidAddress, InvalidVariable
from ..limits import MAX_SIP_NAME, MAX_SIP_VARIABLES
from ._sip import (
    ESCAPE,
    HOST_NAME,
    LONE_PERCENT,
    USER_CHARACTER,
    SIPTechnology,
    escape_except,
    explain_brackets,
    explain_invalid_uri,
)
from .fields import MessageFields
from .technology import register

# All of the following was seen on 16.28.

# The user in From: of an escaped reserved character the bare one comes out, and an escaped NUL ends
# it. An escaped % stays escaped.
_USER_ESCAPE = escape_except("00", "24", "26", "2B", "2C", "2F", "3B", "3D", "3F")
_USER = rf"(?:{USER_CHARACTER}|{_USER_ESCAPE})+"
_BROKEN_ESCAPES = re.compile("%(?:00|2[46BCFbcf]|3[BDFbdf])")

# After the name in From: a URI, of which port, password, parameters and headers would be dropped,
# sips would become sip, and IPv6 would lose its brackets; or a user alone, which is taken as it is
# and escaped. What stands after the closing bracket is dropped.
_FROM_ADDRESS = (
    rf"(?:[Ss][Ii][Pp]:(?P<user>{_USER})@{HOST_NAME}"
    rf"|(?P<extension>(?:[^<>%@:]|{LONE_PERCENT})+))>\ *"
)
_QUOTED = r'"((?:[^"\\]|\\.)+)"'

# What a person would take for an address and not for a name.
_LOOKS_LIKE_AN_ADDRESS = r"\S*@\S*|(?i:sips?|pjsip|tel|xmpp|mailto):\S*"

# A target is sent to as it is written when it is a peer, user@peer or user@host:port. The user is
# taken as it is and escaped, percent signs too. A name, parameters and headers would be dropped,
# and zeros in front of a port.
_TARGET = (
    r"(?P<bracket><(?![Ss][Ii][Pp][Ss]:)(?:[Ss][Ii][Pp]:)?)?"
    rf"(?:(?P<user>(?:[^%@<>]|{LONE_PERCENT})*)@)?"
    rf"(?![^@>]*:0[0-9]*(?:>|\Z))[^%@<>;?/\ ]+(?(bracket)>)"
)

# Bytes that chan_sip need not escape in a user.
_UNESCAPED = rb"[A-Za-z0-9\-_.!~*'()&=+$,;?/]"
_ESCAPED_BYTE = rb"%(..)"
_PAIR = r"\\(.)"


@register
class SIP(SIPTechnology):
    """``sip:`` (chan_sip; 11.25 and 16.28).

    A target is ``peer``, ``user@peer`` or ``user@host:port``; the user as it is, not escaped. A
    From is a display name, ``Name <sip:user@host>`` or ``Name <user>``.

    What a client cannot see: where chan_sip listens on another port than 5060, it adds that port to
    the host of From, and replaces one that From names. ``fromuser`` and ``fromdomain`` of a peer
    replace what From says; ``usereqphone`` adds ``;user=phone``.
    """

    __slots__ = ()
    name = "sip"

    def check_target(self, fields: MessageFields) -> None:
        """Refuse what is neither a peer, user@peer nor user@host:port."""
        field, target = fields.target_header, fields.target
        rest = target[len("sip:") :]
        found = re.fullmatch(_TARGET, rest)
        if found is None or re.match("(?i)sips?:", rest):
            raise InvalidAddress(
                f"chan_sip would not send to {target!r} as it is written: {_target_advice(rest)}",
                field=field,
            )
        user = found.group("user")
        if user is not None:
            _check_length(field, "user", _escaped_size(user.encode()))

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Refuse a To of its own: chan_sip makes no use of it."""
        if fields.to != fields.destination:
            raise InvalidAddress(
                "where there is a Destination, sip makes no use of To; give the destination as To, "
                "too",
                field="To",
            )

    def check_from(self, fields: MessageFields) -> None:
        """Refuse a From that chan_sip would change, cut or drop."""
        from_ = fields.from_
        if from_ is None:
            return
        if "<" not in from_:
            if re.fullmatch(_LOOKS_LIKE_AN_ADDRESS, from_.rstrip(" ")):
                raise InvalidAddress(
                    f"chan_sip takes the bare address {from_!r} for a display name; "
                    "write 'Name <sip:user@host>'",
                    field="From",
                )
            _check_name_length(from_)
            return
        name, _, address = from_.rpartition("<")
        found = re.fullmatch(_FROM_ADDRESS, address)
        if found is None:
            raise InvalidAddress(
                f"chan_sip would change or drop the From {from_!r}: {_from_advice(address)}",
                field="From",
            )
        _check_name_length(_display_name(from_, name.strip(" ")))
        user, extension = found.group("user", "extension")
        decoded = extension.encode() if user is None else _unescaped(user)
        _check_length("From", "user", _escaped_size(decoded))

    def check_name(self, name: str) -> None:
        """Refuse a User-Agent, too; pjsip takes one in place of its own (16.28, 22.10)."""
        super().check_name(name)
        if name.lower() == "user-agent":
            raise InvalidVariable(
                f"chan_sip writes {name!r} itself, and the phone would get two; leave it out",
                field=name,
            )

    def check_variables(self, fields: MessageFields) -> None:
        """Refuse more than chan_sip keeps."""
        super().check_variables(fields)
        # A Content-Type takes the place of chan_sip's own.
        count = len([name for name, _ in fields.variables if name.lower() != "content-type"])
        if count > MAX_SIP_VARIABLES:
            raise InvalidVariable(
                f"{count} variables, and chan_sip keeps {MAX_SIP_VARIABLES}, then drops headers; "
                "send fewer",
                field="Variable",
                limit=MAX_SIP_VARIABLES,
                actual=count,
            )


def _display_name(from_: str, name: str) -> str:
    """The name that the phone sees, or a refusal."""
    quoted = re.fullmatch(_QUOTED, name)
    if quoted:
        return re.sub(_PAIR, r"\1", quoted.group(1))
    if name in ("", '"', '""'):
        raise InvalidAddress(
            f"chan_sip would put its own name in front of {from_!r}; write 'Name "
            f"<{from_.rpartition('<')[2]}'",
            field="From",
        )
    if "\\" in name or (name[0] == '"' == name[-1]):
        raise InvalidAddress(
            f"chan_sip would drop backslashes or quotes from the name in {from_!r}; write "
            '"Name" with a backslash before each \\ and " in it',
            field="From",
        )
    return name


def _target_advice(rest: str) -> str:
    """What is wrong with a target, and what to write."""
    if re.match("(?i)<?sips:", rest):
        return "chan_sip sends sips: as sip:; write sip:user@host:port"
    if re.match("(?i)sips?:", rest):
        return f"the scheme stands there twice; write sip:{rest.partition(':')[2]}"
    user = rest.rpartition("@")[0]
    escape = re.search(ESCAPE, user)
    if escape:
        character = bytes([int(escape.group()[1:], 16)]).decode("latin-1")
        written = character if " " < character < "\x7f" else "the character itself"
        return f"{escape.group()} would be escaped once more; write {written}"
    if "<" in rest:
        return "a name, or what stands after the bracket, would be dropped; write sip:user@host"
    if re.search(":0[0-9]*$", rest):
        return "the port starts with a zero, which would be dropped; leave the zero out"
    if re.search("[;?]", rest.rpartition("@")[2]):
        return "parameters and headers would be dropped; leave them out"
    return "write sip:peer, sip:user@peer or sip:user@host:port, with nothing after it"


def _from_advice(address: str) -> str:
    """What is wrong with what stands in brackets, and what to write."""
    uri = address.partition(">")[0]
    escape = re.search(ESCAPE, uri)
    if escape and not re.search("[:@]", uri):
        return f"{escape.group()} would be escaped once more; write the character itself"
    advice = explain_brackets("<" + address.rstrip(" ")) or explain_invalid_uri(
        uri, _BROKEN_ESCAPES, _BROKEN_ESCAPES
    )
    if advice:
        return advice
    if "[" in uri:
        return "IPv6 would lose its brackets; write a host name"
    if re.search("@[^@]*[:;?]", uri):
        return (
            "port, parameters and headers would be dropped, and chan_sip adds a port by itself; "
            "leave them out"
        )
    if re.match("(?i)sip:[^@]*:", uri):
        return "a password would become a part of the user; leave it out"
    return "the address has no user and host; write 'Name <sip:user@host>'"


def _check_name_length(name: str) -> None:
    # A quote and a backslash are written with a backslash.
    _check_length("From", "name", len(name.encode()) + len(re.findall(r'["\\]', name)))


def _check_length(field: str, part: str, size: int) -> None:
    if size > MAX_SIP_NAME:
        raise InvalidAddress(
            f"the {part} in {field} has {size} bytes as chan_sip writes it, and it would be cut "
            f"after {MAX_SIP_NAME}; shorten it",
            field=field,
            limit=MAX_SIP_NAME,
            actual=size,
        )


def _unescaped(user: str) -> bytes:
    return re.sub(_ESCAPED_BYTE, lambda escape: bytes([int(escape.group(1), 16)]), user.encode())


def _escaped_size(text: bytes) -> int:
    return 3 * len(text) - 2 * len(re.findall(_UNESCAPED, text))
