"""The addresses that a phone must see, derived from the given ones by the rules of SIP alone.

This is a separate implementation of RFC 3261, which does not share the library's mistakes. ``None``
means that the text is not an address, so that no message can be exact.
"""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import quote

from tests.live.phone import SipMessage
from tests.live.servers import Live

_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
_USER = _UNRESERVED + "&=+$,;?/"
_PASSWORD = _UNRESERVED + "&=+$,"
_PARAMETER = _UNRESERVED + "[]/:&+$"
_HOST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

#: Parameters that RFC 3261 (19.1.1, table 1) does not allow in To.
_NOT_IN_TO = ("transport", "maddr", "ttl", "lr", "method")


class NameAddr(NamedTuple):
    """A display name, without quotes, and a URI."""

    name: str
    uri: str


class Wanted(NamedTuple):
    """The request URI, To and From of an exact message."""

    uri: str
    to: NameAddr
    from_: NameAddr


class Uri(NamedTuple):
    """The parts of a SIP URI."""

    scheme: str
    user: Optional[str]
    password: Optional[str]
    host: str
    port: Optional[str]
    parameters: Tuple[str, ...]
    headers: Optional[str]

    def text(self) -> str:
        """Return the URI as written, with its scheme in lower case."""
        head = f"{self.scheme}:"
        if self.user is not None:
            password = "" if self.password is None else f":{self.password}"
            head += f"{self.user}{password}@"
        port = "" if self.port is None else f":{self.port}"
        headers = "" if self.headers is None else f"?{self.headers}"
        return f"{head}{self.host}{port}{''.join(f';{one}' for one in self.parameters)}{headers}"

    def in_to(self) -> str:
        """Return the URI with the parts that are allowed in To."""
        kept = [one for one in self.parameters if one.partition("=")[0].lower() not in _NOT_IN_TO]
        return self._replace(port=None, parameters=tuple(kept), headers=None).text()


def normal(text: str) -> str:
    """Normalize escapes: upper case, and none for unreserved characters (RFC 3986, 6.2.2)."""

    def one(found: "re.Match[str]") -> str:
        character = chr(int(found.group()[1:], 16))
        return character if character in _UNRESERVED else found.group().upper()

    return re.sub("%[0-9A-Fa-f]{2}", one, text)


def read_uri(text: str) -> Optional[Uri]:
    """Parse a ``sip:`` or ``sips:`` URI; return None if it is invalid by RFC 3261."""
    scheme, colon, rest = text.partition(":")
    if scheme.lower() not in ("sip", "sips") or not colon:
        return None
    user = password = headers = None
    userinfo, at, place = rest.rpartition("@")
    if at:
        user, has_password, password_text = userinfo.partition(":")
        if not user or not _consists_of(user, _USER):
            return None
        if has_password:
            password = password_text
            if not _consists_of(password, _PASSWORD):
                return None
    if "?" in place:
        place, _, headers = place.partition("?")
    host_port, *parameters = place.split(";")
    # A zone, such as fe80::1%eth0, is not in RFC 3261.
    found = re.fullmatch(
        r"(\[[0-9A-Fa-f:.]*(?:%[\w.~-]+)?\]|[^\[\]:]*)(?::([0-9]+))?", host_port, re.ASCII
    )
    if found is None or not found.group(1):
        return None
    host, port = found.groups()
    if host[0] == "[" and ":" not in host or host[0] != "[" and set(host) - set(_HOST):
        return None
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not _consists_of(name, _PARAMETER) or not name or equals and not value:
            return None
        if not _consists_of(value, _PARAMETER):
            return None
    return Uri(scheme.lower(), user, password, host, port, tuple(parameters), headers)


def read_name_addr(text: str) -> Optional[Tuple[str, str]]:
    """Return the name and the text in brackets, or None if the text does not end in brackets."""
    text = text.strip(" ")
    if text[:1] == '"':
        quoted = re.match(r'"((?:[^"\\]|\\.)*)" *<([^<>]*)>$', text)
        if quoted:
            return re.sub(r"\\(.)", r"\1", quoted.group(1)), quoted.group(2)
    if not text.endswith(">") or "<" not in text:
        return None
    name, _, rest = text.rpartition("<")
    return None if ">" in rest[:-1] else (name.strip(" "), rest[:-1])


def seen(header: Optional[bytes]) -> Optional[NameAddr]:
    """Parse a From or To that arrived; return None if no phone can parse it."""
    text = (header or b"").decode("utf-8", "replace")
    found = re.match(r'(?:"((?:[^"\\]|\\.)*)" ?|([^"<>\\]*?) ?)<([^<>]*)>(?:;tag=[^;]*)?$', text)
    if found is None:
        return None
    quoted, plain, uri = found.groups()
    name = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return NameAddr(name, normal(uri))


def seen_at_phone(message: SipMessage) -> Optional[Wanted]:
    """Return the addresses of a message that arrived, or None if no phone can parse them."""
    uri = normal(message.request_uri.encode("latin-1").decode("utf-8", "replace"))
    to, from_ = seen(message.header("To")), seen(message.header("From"))
    return None if to is None or from_ is None else Wanted(uri, to, from_)


def _consists_of(text: str, characters: str) -> bool:
    return not set(re.sub("%[0-9A-Fa-f]{2}", "", text)) - set(characters)


def _address(text: str) -> Optional[Tuple[str, Uri]]:
    """Parse ``Name <uri>`` or a URI."""
    found = read_name_addr(text)
    name, uri_text = ("", text) if found is None else found
    uri = read_uri(uri_text)
    return None if uri is None else (name, uri)


class PjsipReader:
    """Derives the expected addresses for the endpoints of pjsip.

    :param contacts: the contact of each endpoint; an AOR has the name of its endpoint.
    """

    host = "127.0.0.1"

    def __init__(self, contacts: Dict[str, str]) -> None:
        self._contacts = contacts

    def wanted(self, to: str, from_: Optional[str], destination: Optional[str]) -> Optional[Wanted]:
        """Return the expected addresses, or None."""
        found = self._target((to if destination is None else destination)[len("pjsip:") :])
        if found is None:
            return None
        endpoint, name, uri = found
        to_header = NameAddr(name, normal(uri.in_to()))
        if destination is not None and to != destination:
            asked = _address(to[6:] if to.startswith("pjsip:") else to)
            if asked is None:
                return None
            to_header = NameAddr(asked[0], normal(asked[1].text()))
        from_header = self._from(from_, endpoint)
        return None if from_header is None else Wanted(normal(uri.text()), to_header, from_header)

    def _target(self, rest: str) -> Optional[Tuple[str, str, Uri]]:
        """Return the endpoint that sends, the name for To, and the URI."""
        default = "default_outbound_endpoint"
        if rest in self._contacts:
            return self._of_contact(rest, rest)
        if "/" in rest and rest[:4].lower() not in ("sip:", "sips"):
            endpoint, _, after = rest.partition("/")
            if endpoint == "PJSIP":
                user, at, endpoint = after.partition("@")
                uri = read_uri(f"sip:{user}@{self.host}") if at else None
                contact = read_uri(self._contacts.get(endpoint, ""))
                if uri is None or contact is None:
                    return None
                return endpoint, "", contact._replace(user=uri.user, password=uri.password)
            if endpoint not in self._contacts:
                return None
            if after in self._contacts:
                return self._of_contact(endpoint, after)
        else:
            endpoint, after = default, rest
        found = _address(after)
        if found is None and ":" not in after.rpartition("@")[0]:
            found = _address(f"sip:{after}")
        return None if found is None else (endpoint, *found)

    def _of_contact(self, endpoint: str, aor: str) -> Optional[Tuple[str, str, Uri]]:
        uri = read_uri(self._contacts[aor])
        return None if uri is None else (endpoint, "", uri)

    def _from(self, asked: Optional[str], endpoint: str) -> Optional[NameAddr]:
        user, at, host = endpoint.partition("@")
        host = host if at else self.host
        if asked is None:
            return NameAddr("", f"sip:{user}@{host}")
        asked = asked.lstrip(" ")
        found = _address(asked)
        if found is None and "<" not in asked and ":" not in asked.partition("@")[0]:
            # A user, or user@host, without a scheme.
            found = _address(f"sip:{asked}" if "@" in asked else f"sip:{asked}@{host}")
        return None if found is None else NameAddr(found[0], normal(found[1].text()))


class SipReader:
    """Derives the expected addresses for the peers of chan_sip.

    :param peers: the host and port of each peer.
    :param port: the port that chan_sip listens on, which it adds to the host of From.
    """

    def __init__(self, peers: Dict[str, str], port: int) -> None:
        self._peers = peers
        self._port = port

    def wanted(self, to: str, from_: Optional[str], destination: Optional[str]) -> Optional[Wanted]:
        """Return the expected addresses, or None."""
        if destination is not None and to != destination:
            asked = _address(to)
            if asked is None:
                return None
            to_header: Optional[NameAddr] = NameAddr(asked[0], normal(asked[1].text()))
        else:
            to_header = None
        found = self._target((to if destination is None else destination)[len("sip:") :])
        from_header = self._from(from_)
        if found is None or from_header is None:
            return None
        return Wanted(found.uri, to_header or found, from_header)

    def _target(self, rest: str) -> Optional[NameAddr]:
        found = read_name_addr(rest)
        name, inner = ("", rest) if found is None else found
        if inner[:4].lower() == "sip:" or inner[:5].lower() == "sips:":
            scheme, _, inner = inner.partition(":")
        else:
            scheme = "sip"
        user, at, host = inner.rpartition("@")
        if not host or at and not user:
            return None
        place = self._peers.get(host, host)
        head = f"{_user(user)}@" if at else ""
        return NameAddr(name, f"{scheme.lower()}:{head}{place}")

    def _from(self, asked: Optional[str]) -> Optional[NameAddr]:
        own = f"127.0.0.1:{self._port}"
        if asked is None:
            return NameAddr("asterisk", f"sip:asterisk@{own}")
        if "<" not in asked:
            looks = re.match(r"(?i)\S*@|(sips?|pjsip|tel|xmpp|mailto):", asked)
            if looks and " " not in asked.strip(" "):
                return None  # an address, which chan_sip does not know without brackets
            return NameAddr(asked, f"sip:asterisk@{own}")
        found = read_name_addr(asked)
        if found is None:
            return None
        name, inner = found
        if "@" in inner or ":" in inner or re.search("%[0-9A-Fa-f]{2}", inner):
            uri = read_uri(inner)
            if uri is None:
                return None
            if uri.port is None and not uri.parameters and uri.headers is None:
                uri = uri._replace(port=str(self._port))
            return NameAddr(name, normal(uri.text()))
        return NameAddr(name, f"sip:{_user(inner)}@{own}") if inner else None


def _user(user: str) -> str:
    """Return a user, escaped unless it has an escape already."""
    if re.search("%[0-9A-Fa-f]{2}", user):
        return normal(user)
    return quote(user, safe=_USER)


def reader_of(
    live: Live, technology: str, endpoints: Sequence[str] = ("alice",)
) -> Union[PjsipReader, SipReader]:
    """Return the reader for a live server, whose endpoints all lead to the one phone."""
    place = f"127.0.0.1:{live.phone.port}"
    if technology == "sip":
        return SipReader({"alice": place}, live.server.ports.sip)
    return PjsipReader(dict.fromkeys(endpoints, f"sip:alice@{place}"))
