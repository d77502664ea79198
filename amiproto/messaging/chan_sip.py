"""Messages that chan_sip sends, up to Asterisk 20: ``sip:peer``, ``sip:user@host``."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Dict

from ..exceptions import InvalidAddress, InvalidVariable, quote
from ..limits import MAX_SIP_NAME, MAX_SIP_VARIABLES
from ._sip import (
    BRACKET_HINTS,
    BROKEN_ADDRESS,
    CHARACTER_HINTS,
    DIFFERENT_ADDRESS,
    ESCAPE,
    HOST_NAME,
    INVALID_PORT,
    LONE_PERCENT,
    PARAMETERS_DROPPED,
    PORT,
    RESERVED,
    SCHEME_HINTS,
    USER_CHARACTER,
    Hints,
    SIPTechnology,
    escape_except,
    find_hint,
    uri_parts,
)
from .fields import MessageFields
from .technology import NEVER, register

# All of the following was seen on 16.28.

# The user in From: an escaped reserved character is sent unescaped, and an escaped NUL ends it. An
# escaped % stays escaped.
_USER_ESCAPE = escape_except("00", RESERVED)
_USER = rf"(?:{USER_CHARACTER}|{_USER_ESCAPE})+"

# After the name in From: a URI, of which port, password, parameters and headers would be dropped,
# sips would become sip, and IPv6 would lose its brackets; or a user alone, which is escaped. Text
# after the closing bracket is dropped.
_FROM_ADDRESS = (
    rf"(?:[Ss][Ii][Pp]:(?P<user>{_USER})@{HOST_NAME}"
    rf"|(?P<extension>(?:[^<>%@:]|{LONE_PERCENT})+))>\ *"
)
_QUOTED = r'"((?:[^"\\]|\\.)+)"'

# The start of an address, rather than of a display name.
_SCHEME = "(?i:sips?|pjsip|tel|xmpp|mailto):"

# A peer, user@peer or user@host:port. The user is escaped, percent signs too. An empty user, a
# name, parameters and headers would be dropped.
_TARGET = (
    r"(?P<bracket><(?:[Ss][Ii][Pp]:|(?![Ss][Ii][Pp][Ss]?:)))?"
    rf"(?:(?P<user>(?:[^%@<>]|{LONE_PERCENT})+)@)?"
    rf"(?:\[[0-9A-Fa-f:.]+\]|[^%@<>;?/:\"()\[\]\ ]+)(?::{PORT})?(?(bracket)>)"
)

# Bytes that chan_sip does not escape in a user.
_UNESCAPED = USER_CHARACTER.encode()
_ESCAPED_BYTE = rb"%(..)"
_QUOTED_PAIR = r"\\(.)"

TARGET_HINTS: Hints = (
    ("text", r"(?i)\A<?sips:", "chan_sip sends sips: as sip:; use sip:user@host:port"),
    ("text", r"(?i)\Asip:(.*)", "the scheme is given twice; use sip:{1}"),
    (
        "target_user",
        "%(?:2[1-9A-Fa-f]|[3-6][0-9A-Fa-f]|7[0-9A-Ea-e])",
        "{0} would be escaped again; write {decoded}",
    ),
    ("target_user", ESCAPE, "{0} would be escaped again; write the character itself"),
    (
        "text",
        r"[^<]<|>[^>]|\A<[^>]*\Z",
        "a display name, or text after the brackets, would be dropped; use sip:user@host",
    ),
    ("text", r"\A<?(?i:sip:)?@", "an empty user before @ would be dropped"),
    ("target_place", "[;?]", PARAMETERS_DROPPED),
    ("target_place", rf":(?!{PORT}\Z)[^\]]*\Z", INVALID_PORT),
    ("text", "", "use sip:peer, sip:user@peer or sip:user@host:port, with nothing after it"),
)

# About the part of From from the last < on.
FROM_HINTS: Hints = (
    (
        "uri",
        rf"\A(?=[^:@]*\Z).*?({ESCAPE})",
        "{1} would be escaped again; write the character itself",
    ),
    *BRACKET_HINTS,
    *SCHEME_HINTS,
    ("uri", f"%(?i:{RESERVED})", DIFFERENT_ADDRESS),
    ("uri", "%00", BROKEN_ADDRESS),
    *CHARACTER_HINTS,
    ("uri", r"\[", "an IPv6 address would lose its brackets; use a host name"),
    (
        "uri",
        "@[^@]*[:;?]",
        "port, parameters and headers would be dropped, and chan_sip adds its own port",
    ),
    ("uri", "(?i)\\Asip:[^@]*:", "a password would become part of the user"),
    ("uri", "", "the address has no user and host; use 'Name <sip:user@host>'"),
)


@register
class SIP(SIPTechnology):
    """``sip:`` (chan_sip; 11.25 and 16.28).

    A target is ``peer``, ``user@peer`` or ``user@host:port``, the user not escaped. A From is
    a display name or the name of a peer, ``Name <sip:user@host>`` or ``Name <user>``.

    Settings that a client cannot see: if chan_sip listens on another port than 5060, it adds that
    port to the host of From. ``fromuser`` and ``fromdomain`` of a peer replace those of From;
    ``usereqphone`` adds ``;user=phone``. With ``pedantic=no``, nothing is escaped.
    """

    __slots__ = ()
    name = "sip"
    has_bare_names = True
    variable_rules = MappingProxyType({
        **SIPTechnology.variable_rules,
        # Only pjsip can replace it (16.28, 22.10).
        "user-agent": (NEVER, "is set by chan_sip itself; the phone would receive it twice"),
    })  # fmt: skip

    def check_target(self, fields: MessageFields) -> None:
        """Reject anything but a peer, user@peer or user@host:port."""
        rest = fields.target[len("sip:") :]
        found = re.fullmatch(_TARGET, rest)
        if found is None or re.match("(?i)sips?:", rest):
            user, _, place = rest.rstrip(">").rpartition("@")
            parts = {"text": rest, "target_user": user, "target_place": place}
            raise InvalidAddress(
                f"chan_sip would alter or misroute {quote(fields.target)}: "
                f"{find_hint(TARGET_HINTS, parts)}",
                field=fields.target_header,
            )
        user = found.group("user")
        if user is not None:
            _check_length(fields.target_header, "user", _escaped_size(user.encode()))

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Reject a To that differs from Destination: chan_sip ignores it."""
        if fields.to != fields.destination:
            raise InvalidAddress(
                "chan_sip ignores To if there is a Destination; use the same value for both",
                field="To",
            )

    def check_from(self, fields: MessageFields) -> None:
        """Reject a From that chan_sip would alter, cut or drop."""
        from_ = fields.from_
        if from_ is None:
            return
        if "<" not in from_:
            is_one_word = not re.search(r"\s", from_.rstrip(" "))
            if is_one_word and ("@" in from_ or re.match(_SCHEME, from_)):
                raise InvalidAddress(
                    f"chan_sip would use {quote(from_)} as a display name; use "
                    "'Name <sip:user@host>'",
                    field="From",
                )
            _check_name_length(from_)
            return
        name, _, address = from_.rpartition("<")
        found = re.fullmatch(_FROM_ADDRESS, address)
        if found is None:
            hint = find_hint(FROM_HINTS, _from_parts(address))
            raise InvalidAddress(
                f"chan_sip would alter or drop the From {quote(from_)}: {hint}", field="From"
            )
        _check_name_length(_display_name(from_, name.strip(" ")))
        user, extension = found.group("user", "extension")
        decoded = extension.encode() if user is None else _unescaped(user)
        _check_length("From", "user", _escaped_size(decoded))

    def check_variables(self, fields: MessageFields) -> None:
        """Reject also more variables than chan_sip keeps."""
        super().check_variables(fields)
        # A Content-Type replaces chan_sip's own.
        count = len([name for name, _ in fields.variables if name.lower() != "content-type"])
        if count > MAX_SIP_VARIABLES:
            raise InvalidVariable(
                f"message has {count} variables; chan_sip keeps {MAX_SIP_VARIABLES} and then "
                "drops headers",
                field="Variable",
                limit=MAX_SIP_VARIABLES,
                actual=count,
            )


def _from_parts(address: str) -> Dict[str, str]:
    """Return the parts of a From for its hints, given the text after its last ``<``."""
    parts = uri_parts(address.partition(">")[0])
    return {**parts, "text": "<" + address.rstrip(" ")}


def _display_name(from_: str, name: str) -> str:
    """Return the display name that the phone would receive.

    :raises InvalidAddress: if that is not the one that was given.
    """
    quoted = re.fullmatch(_QUOTED, name)
    if quoted:
        return re.sub(_QUOTED_PAIR, r"\1", quoted.group(1))
    if name in ("", '"', '""'):
        raise InvalidAddress(
            f"chan_sip would add its own display name to {quote(from_)}; use "
            f"{quote('Name <' + from_.rpartition('<')[2])}",
            field="From",
        )
    if "\\" in name or (name[0] == '"' == name[-1]):
        raise InvalidAddress(
            f"chan_sip would drop backslashes or quotes from the display name in {quote(from_)}; "
            r'write "Name", with a backslash before each \ and " in it',
            field="From",
        )
    return name


def _check_name_length(name: str) -> None:
    # chan_sip writes a backslash before each quote and backslash.
    _check_length("From", "display name", len(name.encode()) + len(re.findall(r'["\\]', name)))


def _check_length(header: str, part: str, size: int) -> None:
    if size > MAX_SIP_NAME:
        raise InvalidAddress(
            f"the {part} in {header} is {size} bytes as chan_sip writes it; the limit is "
            f"{MAX_SIP_NAME}",
            field=header,
            limit=MAX_SIP_NAME,
            actual=size,
        )


def _unescaped(user: str) -> bytes:
    return re.sub(_ESCAPED_BYTE, lambda escape: bytes([int(escape.group(1), 16)]), user.encode())


def _escaped_size(text: bytes) -> int:
    return 3 * len(text) - 2 * len(re.findall(_UNESCAPED, text))
