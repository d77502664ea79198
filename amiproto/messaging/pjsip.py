"""Messages that res_pjsip_messaging sends: ``pjsip:endpoint``, ``pjsip:endpoint/sip:...``."""

from __future__ import annotations

import re

from ..exceptions import InvalidAddress, InvalidVariable
from ..messages import Banner
from ._sip import (
    ESCAPE,
    HOST_NAME,
    IPV6,
    PORT,
    TOKEN,
    USER_CHARACTER,
    SIPTechnology,
    escape_except,
    explain_brackets,
    explain_invalid_uri,
)
from .fields import MessageFields
from .technology import register

# All of the following was seen on 16.28 and 22.10 unless it says otherwise.

# Of an escaped % or reserved character the bare one comes out.
_USER_ESCAPE = escape_except("24", "25", "26", "2B", "2C", "2F", "3B", "3D", "3F")
_USER = rf"(?:{USER_CHARACTER}|{_USER_ESCAPE})+"
_PASSWORD_ESCAPE = escape_except("24", "25", "26", "2B", "2C", "3D")
_PASSWORD = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|{_PASSWORD_ESCAPE})+"
_PARAMETER_CHARACTER = r"[A-Za-z0-9\-_.!~*'()&+$:/\[\]]"
_PARAMETER_ESCAPE = escape_except("24", "25", "26", "2B", "2F", "3A", "5B", "5D")
# With a quote in front, it would be one in quotes.
_PARAMETER_WORD = rf"(?!%22)(?:{_PARAMETER_CHARACTER}|{_PARAMETER_ESCAPE})+"
_BROKEN_IN_USER = re.compile("%(?:2[4-6BCFbcf]|3[BDFbdf])")
_BROKEN_IN_PARAMETERS = re.compile("%(?:2[24-6BFbf]|3[Aa]|5[BDbd])")

_HOST = rf"(?:{HOST_NAME}|{IPV6})"

# pjsip writes the parameters that it knows in this order and in small letters, each once, and then
# the others as they came. It drops ``method`` and any value of ``lr``, and decodes the user's.
# By another transport than UDP nothing is sent where the endpoint's is UDP (22.10), or it goes out
# by UDP (16.28).
_USER_PARAMETER = rf"(?:;user={_PARAMETER_CHARACTER}+)?"
_ROUTE_PARAMETERS = (
    rf"(?:;transport=(?i:udp))?(?:;ttl=(?:0|[1-9][0-9]*))?(?:;maddr={HOST_NAME})?(?:;lr)?"
)
_KNOWN = r"(?i:user|method|transport|ttl|maddr|lr)(?:[;=>]|\Z)"
_OTHER_PARAMETERS = rf"(?:;(?!{_KNOWN}){_PARAMETER_WORD}(?:={_PARAMETER_WORD})?)*"

_LOGIN = rf"(?:{_USER}(?::{_PASSWORD})?@)?"
_PLACE = rf"{_HOST}(?::{PORT})?{_USER_PARAMETER}{_ROUTE_PARAMETERS}{_OTHER_PARAMETERS}"

# A bare name loses nothing but the blanks around it. A quote or backslash in one would go out as it
# is, without the backslash that it needs in quotes, and a colon makes it a URI.
_NAME = r"""(?:"(?:[^"\\]|\\.)*"\ *|[^"\\<:]*)"""

# Scheme and host are looked for in small letters: ``SIP:bob@host`` would be the user SIP with the
# password bob.
_URI = rf"sip:{_LOGIN}{_PLACE}"
_NAMED_URI = rf"{_NAME}<{_URI}>"

# The name of an endpoint, or of an AOR. One that has other characters is read as a URI where there
# is no such endpoint or AOR, so that it has to be good for both.
_OBJECT = r"[^/@:;?\[\]<>]*[^/@:;?\[\]<>\ ]"

# What nearly every message names, compiled for them.
_PLAIN_OBJECT = re.compile(r"[\w.\-]+", re.ASCII)

# Three kinds of target: by the default outbound endpoint, or one that is named, and the dialplan's.
_ALONE = rf"{_OBJECT}|{_PLACE}|{_URI}|{_NAMED_URI}"
_AFTER_ENDPOINT = rf"{_ALONE}|{_USER}@{_PLACE}"
_DIALLED = rf"{_USER}@[^/@:]*[^/@:\ ](?:@[^/@:]*[^/@:\ ])?"

# From: port, password, parameters and headers of a URI are dropped, sips becomes sip. What is no
# URI is the user, or the user and host, as they are written: nothing is decoded there.
_FROM_URI = rf"[Ss][Ii][Pp]:(?:{_USER}@)?{_HOST}"
_FROM = rf"{_NAME}<{_FROM_URI}>|{_FROM_URI}|(?:{USER_CHARACTER}|{ESCAPE})+(?:@{_HOST})?"

# To where Destination routes: no port, and of the parameters only those that may stand there. 16.28
# takes names, brackets and capitals too, and 22.10 then leaves the header as it was.
_TO = rf"{_LOGIN}{_HOST}{_USER_PARAMETER}{_OTHER_PARAMETERS}"
_TO_HEADER = rf"(?:pjsip:)?sip:{_TO}"
_TO_HEADER_OF_16 = rf"(?:pjsip:)?(?:[Ss][Ii][Pp]:{_TO}|{_NAME}<[Ss][Ii][Pp]:{_TO}>)"

# What pjsip takes as a Content-Type: a type and a subtype, no parameters.
_PLAIN_TYPE = rf"{TOKEN}/{TOKEN}"

#: First numbers of the versions of AMI on which each was seen: 16.28 says 5, 22.10 says 11.
_AMI_OF_16 = 5
_AMI_OF_22 = 11


@register
class PJSIP(SIPTechnology):
    """``pjsip:`` (res_pjsip_messaging; 16.28 and 22.10).

    A target is ``endpoint``, ``endpoint/aor``, ``endpoint/sip:user@host``, ``PJSIP/user@endpoint``
    or ``sip:user@host``, which goes out by the endpoint named default_outbound_endpoint and needs
    one. Of several contacts of an AOR one is reached. An endpoint without ``aors`` crashes 22.10
    when a message names it (3 of 3), and the outcome is then unknown. Success says that a message
    was handed over, also where nobody has the address, or no transport leads there.

    What a client cannot see: ``user_eq_phone`` of an endpoint adds ``;user=phone`` to From and To.
    ``from_user`` and ``from_domain`` do not replace a From that was given.
    """

    __slots__ = ()
    name = "pjsip"

    def check_target(self, fields: MessageFields) -> None:
        """Refuse what would reach another than it says, or the same under another address."""
        field, target = fields.target_header, fields.target
        rest = target[len("pjsip:") :]
        if rest[-1] == " ":
            # There is no endpoint of that name, and yet it is Success.
            raise InvalidAddress(
                f"{field} ends with a blank, which would be a part of the name; remove it",
                field=field,
            )
        endpoint, slash, after = rest.partition("/")
        if not slash:
            good = _PLAIN_OBJECT.fullmatch(rest) or re.fullmatch(_ALONE, rest)
        elif endpoint == "PJSIP":
            good = re.fullmatch(_DIALLED, after)
        else:
            good = re.fullmatch(_AFTER_ENDPOINT, after)
        # With a scheme in front of the slash, it is one of the URI.
        if not good or (slash and (not endpoint or ":" in endpoint)):
            raise InvalidAddress(
                f"pjsip would not send to {target!r} as it is written: {_target_advice(rest)}",
                field=field,
            )

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Refuse a To that no version puts into the To header as it is."""
        to = fields.to
        if to != fields.destination and not re.fullmatch(_TO_HEADER_OF_16, to):
            uri = to[6:] if to.startswith("pjsip:") else to
            advice = (
                explain_brackets(uri)
                or explain_invalid_uri(
                    _strip_display_name(uri), _BROKEN_IN_USER, _BROKEN_IN_PARAMETERS
                )
                or ("it takes a URI without port, transport or headers; write sip:user@host")
            )
            raise InvalidAddress(
                f"where there is a Destination, pjsip would not put {to!r} into the To header as "
                f"it is written: {advice}",
                field="To",
            )

    def check_from(self, fields: MessageFields) -> None:
        """Refuse a From that every version would change or drop."""
        from_ = fields.from_
        if from_ is not None and not re.fullmatch(_FROM, from_):
            raise InvalidAddress(
                f"pjsip would change or drop the From {from_!r}: {_from_advice(from_)}",
                field="From",
            )

    def check_server(self, fields: MessageFields, banner: Banner) -> None:
        """Refuse what 16.28 and 22.10 do not both carry, where it is not the one that does."""
        super().check_server(fields, banner)
        to, from_, destination = fields.to, fields.from_, fields.destination
        if from_ is not None and ";" in from_ and "@" in from_ and (banner.major or 0) < _AMI_OF_22:
            raise InvalidAddress(
                f"a server of AMI {banner.version} cuts the From {from_!r} at its semicolon; leave "
                "it out",
                field="From",
            )
        if destination is None:
            return
        if to == destination:
            # 16.28 takes all in front of the brackets for the name, the endpoint too.
            if (banner.major or 0) < _AMI_OF_22 and re.match("pjsip:[^/]+/.*<", to):
                raise InvalidAddress(
                    f"a server of AMI {banner.version} would put the endpoint of {to!r} into the "
                    "name of the To header; leave the Destination out, as it says the same",
                    field="To",
                )
        elif banner.major != _AMI_OF_16 and not re.fullmatch(_TO_HEADER, to):
            raise InvalidAddress(
                f"a server of AMI {banner.version} makes no use of {to!r} as the To header; write "
                "sip:user@host, in small letters, without a name and brackets",
                field="To",
            )

    def check_value(self, name: str, value: str) -> None:
        """Refuse a Content-Type with parameters, too."""
        super().check_value(name, value)
        if name.lower() == "content-type" and not re.fullmatch(_PLAIN_TYPE, value):
            raise InvalidVariable(
                f"pjsip takes a type and a subtype such as text/plain as {name!r}, and no "
                "parameters; leave them out",
                field=name,
            )


def _target_advice(rest: str) -> str:
    """What is wrong with a target, and what to write."""
    endpoint, slash, uri = rest.partition("/")
    if not slash or ":" in endpoint:
        uri = rest
    if rest[:6] == "PJSIP/":
        return (
            "PJSIP/ needs a user and an endpoint; write PJSIP/user@endpoint, the user without "
            "colon or slash, and reserved characters in it unescaped"
        )
    inside = _strip_display_name(uri)
    if inside[:4] != "sip:" and inside[:4].lower() == "sip:":
        return "the scheme in capitals would be read as a user; write sip: in small letters"
    if uri[:1] == " ":
        return "a blank stands in front of the address; remove it"
    if "?" in inside.rpartition("@")[2]:
        # pjsip decodes them and adds them to the message: %0d%0a is a line end there.
        return (
            "pjsip would put the headers after the question mark into the message unchecked, line "
            "ends too; give them as variables"
        )
    if "@" in rest and not re.search("(?i)/|sips?:|tel:", rest):
        return (
            "what is in front of the @ would be looked for as an endpoint, and the rest dropped; "
            f"write pjsip:sip:{rest} for the address, or pjsip: and the endpoint alone"
        )
    advice = explain_brackets(uri) or explain_invalid_uri(
        inside, _BROKEN_IN_USER, _BROKEN_IN_PARAMETERS
    )
    if advice:
        return advice
    if re.search("(?i);transport=(?!udp)", inside):
        return (
            "where the endpoint's transport is another, the message would be lost with Success; "
            "leave it out, and give it in the contact of an endpoint"
        )
    if ";" in inside.rpartition("@")[2]:
        return (
            "pjsip writes the parameters user, transport, ttl, maddr, lr in this order, in small "
            "letters, each once, then others, and drops method and empty values; write them so"
        )
    if "/" in rest and rest[:4] == "sip:":
        return "in front of the slash an endpoint is looked for; write pjsip:endpoint/sip:user@host"
    return "write pjsip:endpoint, pjsip:endpoint/sip:user@host or pjsip:sip:user@host"


def _from_advice(from_: str) -> str:
    """What is wrong with a From, and what to write."""
    uri = _strip_display_name(from_)
    if uri is from_ and not re.search("[:@<]", uri):
        return f"it is no address; write '{from_} <sip:user@host>'"
    name = from_.partition("<")[0] if uri is not from_ else ""
    if re.search(r'[":\\]', name) and not re.fullmatch(_NAME, name):
        return (
            "the name has a quote, backslash or colon; write it in quotes, with a backslash before "
            'each \\ and " in it'
        )
    advice = explain_brackets(from_) or explain_invalid_uri(
        uri, _BROKEN_IN_USER, _BROKEN_IN_PARAMETERS
    )
    if advice:
        return advice
    if re.search(r":[0-9]+\Z", uri[4:]):
        return "a port would be dropped; leave it out"
    if re.search("[;?]", uri.rpartition("@")[2]):
        return "parameters and headers would be dropped; leave them out"
    if re.match("(?i)sip:[^@]*:[^@]*@", uri):
        return "a password would be dropped; leave it out"
    return "write sip:user@host or 'Name <sip:user@host>', with nothing after it"


def _strip_display_name(text: str) -> str:
    """What stands between the last brackets; the text itself where there are none."""
    start = text.rfind("<")
    return text[start + 1 : text.find(">", start)] if start >= 0 and ">" in text[start:] else text
