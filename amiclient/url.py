"""A client's arguments as one URL, for settings that are one line of text."""

from __future__ import annotations

from typing import Any, Dict

#: What may stand after the question mark, for ``ami`` and ``amis``.
_OPTIONS = ("timeout", "mechanism", "events", "max_events")
_TLS_OPTIONS = ("cafile", "tls_hostname")


def parse_url(url: str) -> Dict[str, Any]:
    """The arguments of :class:`amiclient.Client` that a URL stands for.

    :raises TypeError, ValueError: for what is no such URL; nothing of user and secret is in it.
    """
    from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

    if not isinstance(url, str):
        raise TypeError(f"url is a str, not {type(url).__name__}")
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("ami", "amis") or not rest:
        raise ValueError("url starts with ami:// or amis://")
    is_tls = scheme.lower() == "amis"
    # By hand up to the last @: urlsplit shows what it does not like, and that may be the secret.
    login, _, place = rest.rpartition("@")
    username, colon, secret = login.partition(":")
    if not username or not secret:
        raise ValueError("url names no user and secret; write ami://user:secret@host")
    if any(character in login for character in "/?#[]@"):
        raise ValueError("url has one of /?#[]@ in user or secret; write it with a percent sign")
    try:
        parts = urlsplit(f"//{place}")
    except ValueError as error:
        raise ValueError(f"url has a host that is none: {error}") from None
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("url has something between host and question mark, or after a #")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("url has a port that is no number of 1 to 65535") from None
    if not parts.hostname:
        raise ValueError("url names no host; write ami://user:secret@host")
    arguments: Dict[str, Any] = {
        "host": unquote(parts.hostname),
        "port": port,
        "username": unquote(username),
        # Bytes where it is no UTF-8, as a secret may be.
        "secret": unquote_to_bytes(secret),
        "tls": is_tls,
    }
    known = _OPTIONS + (_TLS_OPTIONS if is_tls else ())
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"url has no option {name!r}; there are {', '.join(known)}")
        arguments["tls" if name == "cafile" else name] = _value(name, value)
    return arguments


def _value(name: str, text: str) -> Any:
    try:
        if name == "timeout":
            return None if text == "none" else float(text)
        return int(text) if name == "max_events" else text
    except ValueError:
        raise ValueError(f"url has {name}={text!r}, which is no number") from None
