"""Messages that res_pjsip_messaging sends: ``pjsip:endpoint``, ``pjsip:endpoint/sip:...``."""

from __future__ import annotations

import re
from types import MappingProxyType

from ..exceptions import InvalidAddress, quote
from ..messages import Banner
from ._sip import (
    BRACKET_HINTS,
    BROKEN_ADDRESS,
    CHARACTER_HINTS,
    DIFFERENT_ADDRESS,
    ESCAPE,
    HOST_NAME,
    IPV6,
    PARAMETERS_DROPPED,
    PORT,
    RESERVED,
    SCHEME_HINTS,
    TOKEN,
    USER_CHARACTER,
    Hints,
    SIPTechnology,
    escape_except,
    find_hint,
    uri_parts,
)
from .fields import MessageFields
from .technology import register

# All of the following was seen on 16.28 and 22.10 unless it says otherwise.

# An escaped % or reserved character is sent unescaped.
_USER_ESCAPE = escape_except("25", RESERVED)
_USER = rf"(?:{USER_CHARACTER}|{_USER_ESCAPE})+"
_PASSWORD_ESCAPE = escape_except("24", "25", "26", "2B", "2C", "3D")
_PASSWORD = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|{_PASSWORD_ESCAPE})+"
_PARAMETER_CHARACTER = r"[A-Za-z0-9\-_.!~*'()&+$:/\[\]]"
_PARAMETER_ESCAPE = escape_except("24", "25", "26", "2B", "2F", "3A", "5B", "5D")
# With a leading quote it would be a quoted string.
_PARAMETER_WORD = rf"(?!%22)(?:{_PARAMETER_CHARACTER}|{_PARAMETER_ESCAPE})+"

_HOST = rf"(?:{HOST_NAME}|{IPV6})"
# In From and To, an IPv6 address can have a zone. In a target, it would be dropped.
_ZONED_HOST = rf"(?:{_HOST}|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*%[A-Za-z0-9._~\-]+\])"

# pjsip writes the parameters that it knows in this order and in lower case, each once, and then the
# others unchanged. It drops ``method`` and any value of ``lr``, and decodes the value of ``user``.
_USER_PARAMETER = rf"(?:;user={_PARAMETER_CHARACTER}+)?"
_ROUTE_PARAMETERS = (
    r"(?:;transport=(?i:udp|tcp|tls|wss?))?(?:;ttl=(?:0|[1-9][0-9]*))?"
    rf"(?:;maddr={HOST_NAME})?(?:;lr)?"
)
_KNOWN_PARAMETERS = r"(?i:user|method|transport|ttl|maddr|lr)(?:[;=>]|\Z)"
_OTHER_PARAMETERS = rf"(?:;(?!{_KNOWN_PARAMETERS}){_PARAMETER_WORD}(?:={_PARAMETER_WORD})?)*"

_USERINFO = rf"(?:{_USER}(?::{_PASSWORD})?@)?"
_HOST_AND_PARAMETERS = (
    rf"{_HOST}(?::{PORT})?{_USER_PARAMETER}{_ROUTE_PARAMETERS}{_OTHER_PARAMETERS}"
)

# An unquoted name loses only the spaces around it. A quote or backslash in it would be sent without
# the backslash that it needs in quotes, and a colon makes it a URI.
_NAME = r"""(?:"(?:[^"\\]|\\.)*"\ *|[^"\\<:]*)"""

# The scheme is in lower case: ``SIP:bob@host`` would be the user SIP with the password bob.
_URI = rf"sip:{_USERINFO}{_HOST_AND_PARAMETERS}"
_NAMED_URI = rf"{_NAME}<{_URI}>"

# The name of an endpoint, or of an AOR. A name with other characters is read as a URI if it is not
# found, so it must be valid as both.
_OBJECT_NAME = r"[^/@:;?\[\]<>]*[^/@:;?\[\]<>\ ]"

# A telephone number. Behind an endpoint, it is the name of an AOR. Without such an AOR, the message
# is lost with a Success response. It is accepted behind an endpoint that is a number itself, whose
# AOR usually is one, too.
_NUMBER = r"\+?[0-9]+"

# The usual target, compiled because nearly every message has one.
_PLAIN_NAME = re.compile(r"[\w.\-]+", re.ASCII)

# Three kinds of target: without a slash, after an endpoint and a slash, and as in the dialplan.
_TARGET_WITHOUT_ENDPOINT = rf"{_OBJECT_NAME}|{_HOST_AND_PARAMETERS}|{_URI}|{_NAMED_URI}"
_AFTER_ENDPOINT = rf"{_TARGET_WITHOUT_ENDPOINT}|{_USER}@{_HOST_AND_PARAMETERS}"
_DIALLED = rf"{_USER}@[^/@:]*[^/@:\ ](?:@[^/@:]*[^/@:\ ])?"

# From: port, password, parameters and headers of a URI are dropped, and sips becomes sip. Anything
# but a URI is a user, or a user and a host, in which nothing is decoded.
_FROM_URI = rf"[Ss][Ii][Pp]:(?:{_USER}@)?{_ZONED_HOST}"
_FROM_USER = rf"(?:{USER_CHARACTER}|{ESCAPE})+"
_FROM = rf"{_NAME}<{_FROM_URI}>|{_FROM_URI}|{_FROM_USER}(?:@(?:{_ZONED_HOST}|{IPV6}:{PORT}))?"

# The usual From, compiled because most messages have one.
_PLAIN_FROM = re.compile(r"(?:[\w .\-]*<sip:[\w.\-]+@[\w.\-]+>|sip:[\w.\-]+@[\w.\-]+)", re.ASCII)

# To if Destination routes: no port, and only the parameters that are allowed in a To header. Some
# versions ignore a To that does not start with sip: in lower case.
_TO = rf"{_USERINFO}{_ZONED_HOST}{_USER_PARAMETER}{_OTHER_PARAMETERS}"
_PLAIN_TO_HEADER = rf"(?:pjsip:)?sip:{_TO}"
_TO_HEADER = rf"(?:pjsip:)?(?:[Ss][Ii][Pp]:{_TO}|{_NAME}<[Ss][Ii][Pp]:{_TO}>)"

#: The first major AMI version (Asterisk 23) of which every release keeps a From with a semicolon.
#: 16.28 and 22.0 truncate it; 18.26.4, 20.20.1 and 22.10 do not. By their source, 18.0 to 18.26.1,
#: 20.0 to 20.14.0 and 22.0 to 22.4.0 truncate it, with the same banners as later releases.
_AMI_OF_23 = 12

#: Major AMI versions of which every release puts a To with a name, brackets or capitals into the To
#: header: Asterisk 16, 18, 19 and 21 (seen on 16.28 and 18.26; the others by their source). 20.20,
#: 22.10 and 23.4 ignore it, and have the same banners as earlier releases.
_AMI_WITH_ANY_TO = frozenset((5, 7, 8, 10))

_URI_HINTS: Hints = (
    *BRACKET_HINTS,
    *SCHEME_HINTS,
    ("user", f"%(?i:{RESERVED})", DIFFERENT_ADDRESS),
    ("user", "%25", BROKEN_ADDRESS),
    ("place", "%(?i:2[46BF])", DIFFERENT_ADDRESS),
    ("place", "%(?i:2[25]|3A|5[BD])", BROKEN_ADDRESS),
    *CHARACTER_HINTS,
)

# In these, "target" is the whole text after "pjsip:", and "text" the address after an endpoint.
TARGET_HINTS: Hints = (
    (
        "target",
        r"\APJSIP/",
        'PJSIP/ requires PJSIP/user@endpoint, the user without ":" and "/", and with its reserved '
        "characters not escaped",
    ),
    (
        "target",
        rf"\A([^/:@]+)/({_NUMBER})\Z",
        "the number would be taken as an AOR; use pjsip:PJSIP/{2}@{1}",
    ),
    ("uri", r"\A(?!sip:)(?i:sip:)", "sip: in capitals would be read as a user; use sip:"),
    ("text", r"\A\ ", "the address must not start with a space"),
    (
        # pjsip decodes them and adds them to the message: %0d%0a is a line end there.
        "place",
        r"\?",
        'headers after "?" would be added to the message unchecked, line ends too; use variables',
    ),
    (
        "target",
        r"(?i)\A(?!.*(?:/|sips?:|tel:)).*@",
        'the text before "@" would be taken as an endpoint, if there is one of that name, and the '
        "rest dropped; use pjsip:PJSIP/{target} for a user behind an endpoint, pjsip:sip:{target} "
        "for an address, or the endpoint alone",
    ),
    *_URI_HINTS,
    (
        "place",
        ";",
        "pjsip rewrites URI parameters; write user, transport, ttl, maddr and lr in this order, in "
        "lower case and at most once, then others, without method or empty values",
    ),
    (
        "target",
        r"\Asip:.*/",
        'the text before "/" would be taken as an endpoint; use pjsip:endpoint/sip:user@host',
    ),
    ("target", "", "use pjsip:endpoint, pjsip:endpoint/sip:user@host or pjsip:sip:user@host"),
)

TO_HINTS: Hints = (
    *_URI_HINTS,
    ("uri", "", "use a URI without port, transport or headers: sip:user@host"),
)

FROM_HINTS: Hints = (
    ("text", r"\A[^:@<]*\Z", "this is not an address; did you mean '{text} <sip:user@host>'?"),
    (
        "name",
        rf'\A(?!(?:{_NAME})\Z).*[":\\]',
        r'quote the display name, with a backslash before each \ and " in it',
    ),
    *_URI_HINTS,
    ("uri", r"\A.{4}.*:[0-9]+\Z", "a port would be dropped"),
    ("place", "[;?]", PARAMETERS_DROPPED),
    ("uri", "(?i)\\Asip:[^@:]*:[^@]*@", "a password would be dropped"),
    ("uri", "", "use sip:user@host or 'Name <sip:user@host>', with nothing after it"),
)


@register
class PJSIP(SIPTechnology):
    """``pjsip:`` (res_pjsip_messaging; 16.28 and 22.10).

    A target is ``endpoint``, ``endpoint/aor``, ``endpoint/sip:user@host``, ``PJSIP/user@endpoint``
    or ``sip:user@host``, which is sent through the endpoint named default_outbound_endpoint and
    needs one. If an AOR has several contacts, one is reached. An endpoint without ``aors`` crashes
    22.10 when a message names it (3 of 3); the outcome is then unknown. Success means that a
    message was handed over, even if the address does not exist or no transport leads there.

    ``%C3`` arrives as ``%c3``, and ``%41`` as ``A``: the same user by RFC 3261 (19.1.4), but not
    the same bytes. The To header has neither the port nor the transport of the target.

    Settings that a client cannot see: ``user_eq_phone`` of an endpoint adds ``;user=phone`` to From
    and To. ``from_user`` and ``from_domain`` do not replace a From that was given. On an endpoint
    with ``transport=`` for UDP, a target with ``;transport=tcp`` is not sent, in spite of a Success
    response (22.10), or is sent by UDP (16.28). One with ``;transport=tls`` needs a TLS transport.
    """

    __slots__ = ()
    name = "pjsip"
    variable_rules = MappingProxyType({
        **SIPTechnology.variable_rules,
        "content-type": (
            re.compile(rf"{TOKEN}/{TOKEN}"),
            "must be a type and a subtype, such as text/plain, without parameters",
        ),
    })  # fmt: skip

    def check_target(self, fields: MessageFields) -> None:
        """Reject a target that would reach another address, or the same one altered."""
        target = fields.target
        rest = target[len("pjsip:") :]
        if _PLAIN_NAME.fullmatch(rest):
            return
        if rest[-1] == " ":
            # Such an endpoint does not exist, and yet the response is Success.
            raise InvalidAddress(
                f"{fields.target_header} must not end with a space, which would be part of the "
                "endpoint name",
                field=fields.target_header,
            )
        endpoint, slash, after = rest.partition("/")
        if not slash:
            good = re.fullmatch(_TARGET_WITHOUT_ENDPOINT, rest)
        elif endpoint == "PJSIP":
            good = re.fullmatch(_DIALLED, after)
        elif re.fullmatch(_NUMBER, after) and not re.fullmatch(_NUMBER, endpoint):
            good = None
        else:
            good = re.fullmatch(_AFTER_ENDPOINT, after)
        # If there is a scheme before the slash, the slash is part of the URI.
        has_endpoint = bool(slash) and ":" not in endpoint
        if not good or (slash and not (endpoint and has_endpoint)):
            parts = uri_parts(after if has_endpoint else rest)
            hint = find_hint(TARGET_HINTS, {**parts, "target": rest})
            raise InvalidAddress(
                f"pjsip would alter or misroute {quote(target)}: {hint}", field=fields.target_header
            )

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Reject a To that no version would use unchanged as the To header."""
        to = fields.to
        if to == fields.destination:
            # Before 20.20 and 22.10, everything in front of the brackets becomes the display name.
            if re.match("pjsip:[^/]+/.*<", to):
                raise InvalidAddress(
                    f"pjsip would put the endpoint of {quote(to)} into the display name of the To "
                    "header; omit Destination, which is the same",
                    field="To",
                )
        elif not re.fullmatch(_TO_HEADER, to):
            uri = to[len("pjsip:") :] if to.startswith("pjsip:") else to
            raise InvalidAddress(
                f"with a Destination, pjsip would not use {quote(to)} unchanged as the To header: "
                f"{find_hint(TO_HINTS, uri_parts(uri))}",
                field="To",
            )

    def check_from(self, fields: MessageFields) -> None:
        """Reject a From that every version would alter or drop."""
        from_ = fields.from_
        if from_ is None or _PLAIN_FROM.fullmatch(from_):
            return
        if not re.fullmatch(_FROM, from_):
            raise InvalidAddress(
                f"pjsip would alter or drop the From {quote(from_)}: "
                f"{find_hint(FROM_HINTS, uri_parts(from_))}",
                field="From",
            )

    def check_server(self, fields: MessageFields, banner: Banner) -> None:
        """Reject a message that some server with this banner would alter."""
        to, from_, destination = fields.to, fields.from_, fields.destination
        if from_ is not None and ";" in from_ and "@" in from_ and (banner.major or 0) < _AMI_OF_23:
            raise InvalidAddress(
                f"servers of AMI {banner.version} can truncate the From {quote(from_)} at its "
                "semicolon",
                field="From",
            )
        if destination is None:
            return
        super().check_server(fields, banner)
        if destination == to or banner.major in _AMI_WITH_ANY_TO:
            return
        if not re.fullmatch(_PLAIN_TO_HEADER, to):
            raise InvalidAddress(
                f"servers of AMI {banner.version} can ignore {quote(to)} as the To header; use "
                "sip:user@host, in lower case and without a display name and brackets",
                field="To",
            )
