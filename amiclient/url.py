"""The arguments of a Client as one URL, for configuration files and environment variables."""

from __future__ import annotations

from typing import Any, Dict

#: The query parameters of ``ami`` and ``amis``, and those of ``amis`` alone.
_OPTIONS = ("timeout", "health_check_interval", "mechanism", "events", "max_events")
_TLS_OPTIONS = ("cafile", "tls_hostname")


def parse_url(url: str) -> Dict[str, Any]:
    """Return the arguments of :class:`amiclient.Client` for a URL.

    :raises TypeError, ValueError: if the URL is invalid; the error never contains the secret.
    """
    from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("ami", "amis") or not rest:
        raise ValueError("URL must start with ami:// or amis://")
    is_tls = scheme.lower() == "amis"
    # Split at the last @ first, because the errors of urlsplit() may quote its argument.
    login, _, location = rest.rpartition("@")
    username, _, secret = login.partition(":")
    if not username or not secret:
        raise ValueError("URL has no username or no secret; expected ami://user:secret@host")
    if any(character in login for character in "/?#[]@"):
        raise ValueError(
            "URL has an unescaped /, ?, #, [, ] or @ in the username or secret; percent-encode it"
        )
    try:
        parts = urlsplit(f"//{location}")
    except ValueError as error:
        raise ValueError(f"URL has an invalid host: {error}") from None
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("URL must not have a path or a fragment")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("URL has an invalid port; expected 1 to 65535") from None
    if not parts.hostname:
        raise ValueError("URL has no host; expected ami://user:secret@host")
    arguments: Dict[str, Any] = {
        "host": unquote(parts.hostname),
        "port": port,
        "username": unquote(username),
        "secret": unquote_to_bytes(secret),  # it need not be UTF-8
        "tls": is_tls,
    }
    known = _OPTIONS + (_TLS_OPTIONS if is_tls else ())
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"unknown URL option {name!r}; expected one of {', '.join(known)}")
        arguments["tls" if name == "cafile" else name] = _parse_option(name, value)
    return arguments


def _parse_option(name: str, text: str) -> Any:
    try:
        if name in ("timeout", "health_check_interval"):
            return None if text == "none" else float(text)
        return int(text) if name == "max_events" else text
    except ValueError:
        raise ValueError(f"URL option {name} must be a number, not {text!r}") from None
