"""Rules that chan_sip and pjsip share: SIP URIs, hints about invalid ones, and SIP headers.

Both parse a URI and write it again. They decode each part and then escape fewer characters than
were escaped, so that ``%2B`` becomes ``+``, which is another user (RFC 3261, 19.1.4). The
characters that each of them escapes were found by sending every byte, escaped and unescaped, in
every position, to Asterisk 16.28 and 22.10.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Dict, Sequence, Tuple

from ..exceptions import InvalidVariable, shorten
from ..limits import MAX_DATAGRAM
from .fields import MessageFields
from .technology import NEVER, Technology, VariableRules

# ---- the parts of a URI, as patterns

#: A character that both leave unescaped in a user (RFC 3261, user).
USER_CHARACTER = r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]"

HOST_NAME = r"[A-Za-z0-9._\-]+"

#: An IPv6 address in brackets. It has at least one colon: pjsip drops the brackets around anything
#: that has none (16.28, 22.10).
IPV6 = r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]"

#: 1 to 65535. Both drop a leading zero (16.28, 22.10); chan_sip also drops a plus sign, sends an
#: empty port as 5060, and wraps at 65536 (11.25, 16.28).
PORT = (
    r"(?!655(?:3[6-9]|[4-9][0-9])|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})"
    r"[1-9][0-9]{0,4}(?![0-9])"
)

#: A percent sign with two hex digits after it, and one without.
ESCAPE = r"%[0-9A-Fa-f]{2}"
LONE_PERCENT = r"%(?![0-9A-Fa-f]{2})"


#: The reserved characters ``$&+,/;=?`` in hex digits. Both send them unescaped in a user, which is
#: another user then.
RESERVED = "24|26|2B|2C|2F|3B|3D|3F"


def escape_except(*codes: str) -> str:
    """Return the pattern of an escaped byte, except these (patterns of two hex digits)."""
    return rf"%(?!(?i:{'|'.join(codes)}))[0-9A-Fa-f]{{2}}"


# ---- hints: why an address is rejected

#: An ordered table: in which part of the address to search, for which pattern, and the hint. The
#: first match counts. In a hint, ``{0}`` is the matched text and ``{1}`` its first group,
#: ``{decoded}`` and ``{encoded}`` are the matched text with percent escapes undone and done, and
#: ``{text}`` and the like are whole parts.
Hints = Sequence[Tuple[str, str, str]]

DIFFERENT_ADDRESS = (
    "{0} would be sent as {decoded}, which is a different address; write {decoded} if that is "
    "what you mean"
)
BROKEN_ADDRESS = "{0} would be decoded and break the address"
INVALID_PORT = "the port must be 1 to 65535, without a leading zero"
PARAMETERS_DROPPED = "parameters and headers would be dropped"

#: About ``Name <uri>``.
BRACKET_HINTS: Hints = (
    ("text", r"<(?=[^<]*\Z)[^<>]*>[^<]*[^<>]\Z", 'text after ">" would be dropped'),
    ("text", r"<[^<>]*\Z", "missing \">\"; use 'Name <sip:user@host>'"),
)

#: About a URI as a whole.
SCHEME_HINTS: Hints = (
    ("uri", r"(?i)\Asips:", "sips: would be sent as sip:, or not sent at all; use sip:"),
    ("uri", r"(?i)\Atel:", "tel: URIs are not supported; use sip:number@host"),
    ("uri", LONE_PERCENT, '"%" must be followed by two hex digits'),
)

#: About single characters of a URI, once its escapes are known to be good.
CHARACTER_HINTS: Hints = (
    ("user", r'[^\x21-\x7e]|["#<>\[\\\]^`{|}]', "{0!r} must be percent-encoded as {encoded}"),
    ("place", r"\[[^:\[\]]*\]", "{0} is not an IPv6 address; remove the brackets"),
    ("host", r"[^A-Za-z0-9._\-:\[\]]", "{0!r} is not allowed in a host name"),
    ("host", rf"(?<!sip)(?<!:):(?!{PORT}\Z)\+?[0-9]*\Z", INVALID_PORT),
)


def uri_parts(text: str) -> Dict[str, str]:
    """Return the parts of an address that hints are about.

    :param text: ``Name <uri>`` or a URI, well-formed or not (str).
    :return: ``text``, ``name`` (in front of the brackets), ``uri``, ``user`` (with its password),
        ``place`` (host, port and parameters) and ``host`` (without parameters).
    """
    name, uri = "", text
    start = text.rfind("<")
    if start >= 0 and ">" in text[start:]:
        name, uri = text.partition("<")[0], text[start + 1 : text.find(">", start)]
    user, _, place = uri.rpartition("@")
    host = re.split("[;?]", place)[0]
    return {"text": text, "name": name, "uri": uri, "user": user, "place": place, "host": host}


def find_hint(hints: Hints, parts: Dict[str, str]) -> str:
    """Return the first hint that applies; the last of a table always does."""
    matches = ((hint, re.search(pattern, parts[part])) for part, pattern, hint in hints)
    hint, found = next((hint, found) for hint, found in matches if found)
    text = found.group()
    decoded = re.sub(ESCAPE, lambda escape: chr(int(escape.group()[1:], 16)), text)
    encoded = "".join([f"%{byte:02X}" for byte in text.encode()])
    named = {**parts, "decoded": decoded, "encoded": encoded}
    return hint.format(
        *[shorten(part) for part in (text, *found.groups())],
        **{name: shorten(part) for name, part in named.items()},
    )


# ---- the headers of a SIP message

#: A header name in SIP (RFC 3261, token). The server passes any other name through, spaces and
#: colons too, into a message that no phone can parse (11.25, 16.28, 22.10).
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"

#: Names that chan_sip and pjsip reserve and drop from a message (16.28, 22.10); Request-URI would
#: even become the request line of chan_sip.
RESERVED_VARIABLES = frozenset(
    "to from via route contact call-id cseq allow content-length request-uri".split()
)

#: Compact names of headers that both write themselves, and that neither drops: the phone receives
#: two of From or Content-Length, say, and uses either (16.28, 22.10).
COMPACT_VARIABLES = MappingProxyType({
    "c": "Content-Type", "f": "From", "i": "Call-ID", "l": "Content-Length", "m": "Contact",
    "t": "To", "v": "Via",
})  # fmt: skip

_VARIABLE_RULES = {
    **dict.fromkeys(RESERVED_VARIABLES, (NEVER, "has a reserved name, which Asterisk drops")),
    **{
        name: (NEVER, f"has the compact name of {long}; the phone would receive that header twice")
        for name, long in COMPACT_VARIABLES.items()
    },
    # Decremented before it is sent; a bad value makes chan_sip fail, and pjsip drop the variables
    # after it (16.28, 22.10).
    "max-forwards": (NEVER, "would be altered, or make Asterisk fail or drop other variables"),
}

#: Upper bound in bytes of the server's own headers, without addresses; real ones have 450 with a
#: short host name (16.28, 22.10).
_SERVER_HEADERS = 1024


class SIPTechnology(Technology):
    """A technology whose messages are SIP requests and whose variables are SIP headers."""

    __slots__ = ()
    variable_names = re.compile(TOKEN)
    variable_names_hint = "only letters, digits and -.!%*_+`'~ are allowed"
    variable_rules: VariableRules = MappingProxyType(_VARIABLE_RULES)
    #: Whether a From without brackets is a display name, in which a leading space counts.
    has_bare_names = False

    def strip(self, fields: MessageFields) -> MessageFields:
        """Strip From, and a To that does not route."""
        from_ = fields.from_
        if from_ and from_[0] == " " and ("<" in from_ or not self.has_bare_names):
            fields = fields._replace(from_=from_.lstrip(" "))
        if fields.destination is not None:
            fields = fields._replace(to=fields.to.lstrip(" "))
        return fields

    def check_size(self, fields: MessageFields) -> None:
        """Reject a message that does not fit into one datagram."""
        size = len(fields.body) + _SERVER_HEADERS
        size += sum([len(f"{name}: {value}\r\n".encode()) for name, value in fields.variables])
        # The addresses appear in several headers of the request.
        size += 3 * len(f"{fields.to}{fields.from_}{fields.destination}".encode())
        if size > MAX_DATAGRAM:
            raise InvalidVariable(
                f"message would be about {size} bytes; a UDP datagram holds {MAX_DATAGRAM}",
                field="Variable",
                limit=MAX_DATAGRAM,
                actual=size,
            )
