"""Which server, and as whom: options go before the environment, and that before a file."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Callable, Dict, Mapping, Optional, Union

from ..client import Client
from .options import CONFIG, NO_INPUT, USAGE, CommandError

#: The section of the file, and what may stand in it.
_SECTION = "amisend"
_KEYS = ("host", "port", "username", "secret-file", "secret", "timeout", "cafile", "tls", "url")
#: Variables of the environment, in small letters and without AMI_.
_VARIABLES = ("host", "port", "username", "secret", "timeout", "cafile", "url")
#: What an argument of the client is called where it is called otherwise here.
_CLIENT_ARGUMENTS = {"secret-file": "secret", "cafile": "tls"}

#: Spellings of a switch, as configparser has them.
_SWITCH = {"yes": True, "true": True, "on": True, "1": True,
           "no": False, "false": False, "off": False, "0": False}  # fmt: skip


class Settings:
    """What a client needs to be told, gathered from where it stands.

    :param options: the command line.
    :raises Problem: for a setting that makes no sense, or a file that cannot be read.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._found: Dict[str, Any] = {}
        given = vars(options)
        self._take({name: given.get(name.replace("-", "_")) for name in _KEYS}, "--", USAGE)
        names = {name: f"AMI_{name.upper()}" for name in _VARIABLES}
        self._take({name: os.environ.get(names[name]) for name in names}, "AMI_", CONFIG)
        path = _default_file() if options.config is None else options.config
        if path is not None:
            self._take(_read_file(path), f"{path}: ", CONFIG)

    def client(self) -> Client:
        """A client of that server, not connected yet.

        :raises Problem: when there is no user or no secret.
        """
        from amiproto import LocalProtocolError

        from ..client import Client

        found = dict(self._found)
        if "username" not in found:
            raise CommandError(CONFIG, "no user: give --username, or set AMI_USERNAME")
        if "secret" not in found:
            found["secret"] = _ask(found["username"])
        try:
            return Client(**found)
        except (LocalProtocolError, ValueError) as error:
            raise CommandError(CONFIG, f"the settings: {error}") from error

    def _take(self, words: Mapping[str, Union[str, bool, None]], source: str, code: int) -> None:
        """Take from one source what no earlier one has said."""
        for name in _KEYS:
            word = words.get(name)
            if word is None or word is False or _CLIENT_ARGUMENTS.get(name, name) in self._found:
                continue
            shown = source + (name.upper() if source == "AMI_" else name)
            if word == "":
                if code == USAGE:  # an empty path, say, must not end as a connection in the clear
                    raise CommandError(code, f"{shown} is empty; leave it out, or give a value")
                continue  # AMI_PORT= is how a variable is taken away
            try:
                value = _PARSERS.get(name, str)(word)
            except ValueError as error:
                raise CommandError(code, f"{shown}: {error}") from None
            except OSError as error:
                raise CommandError(NO_INPUT, f"{shown}: {error}") from error
            found = value if name == "url" else {_CLIENT_ARGUMENTS.get(name, name): value}
            for key in found:
                self._found.setdefault(key, found[key])


def _port(word: str) -> int:
    port = int(word) if word.isascii() and word.isdigit() else 0
    if not 0 < port < 65536:
        raise ValueError(f"{word!r} is no port; give one of 1 to 65535")
    return port


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e9:
        raise ValueError(f"{word!r} is no time; give seconds above 0")
    return seconds


def _switch(word: Union[str, bool]) -> bool:
    try:
        return _SWITCH[str(word).lower()]
    except KeyError:
        raise ValueError(f"{word!r} is neither yes nor no") from None


def _secret(word: str) -> bytes:
    return os.fsencode(word)  # as the environment has it, UTF-8 or not


def _url(word: str) -> Dict[str, Any]:
    from ..url import parse_url

    found = parse_url(word)
    return {name: value for name, value in found.items() if value is not None}


def _default_file() -> Optional[str]:
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = os.path.join(folder, "amisend.conf")
    return path if os.path.exists(path) else None


def _read_file(path: str) -> Dict[str, str]:
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)  # a secret may hold a percent sign
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise CommandError(NO_INPUT, f"--config: {error}") from error
    except (Error, UnicodeDecodeError) as error:
        # What the parser says may quote a line, and a secret with it.
        line = getattr(error, "lineno", None) or "that is not UTF-8"
        raise CommandError(CONFIG, f"{path}: this is no file of settings: line {line}") from None
    unknown = [name for name in parser.sections() if name != _SECTION]
    if unknown or not parser.has_section(_SECTION):
        raise CommandError(CONFIG, f"{path}: give one section, [{_SECTION}]")
    found = dict(parser[_SECTION])
    for name in found:
        if name not in _KEYS:
            raise CommandError(CONFIG, f"{path}: no setting {name!r}; there are {', '.join(_KEYS)}")
    if "secret" in found or "url" in found:
        _warn_if_readable_by_others(path)
    return found


def _secret_file(path: str) -> bytes:
    path = os.path.expanduser(path)
    with open(path, "rb") as file:
        secret = file.read().rstrip(b"\r\n")
    if not secret:
        raise ValueError(f"there is nothing in {path}; write the secret into it")
    _warn_if_readable_by_others(path)
    return secret


def _cafile(path: str) -> str:
    path = os.path.expanduser(path)
    open(path).close()
    return path


#: What makes a value of a word; a word of any other setting is taken as it is.
_PARSERS: Dict[str, Callable[[Any], Any]] = {
    "port": _port, "timeout": _seconds, "tls": _switch, "cafile": _cafile, "secret": _secret,
    "secret-file": _secret_file, "url": _url,
}  # fmt: skip


def _warn_if_readable_by_others(path: str) -> None:
    if os.name == "posix" and os.stat(path).st_mode & 0o077:
        print(f"amisend: others may read the secret in {path}; chmod 600 {path}", file=sys.stderr)


def _ask(username: str) -> bytes:
    if sys.stderr is not None and sys.stderr.isatty() and _has_terminal():
        from getpass import getpass

        secret = os.fsencode(getpass(f"Secret of {username}: "))
        if secret:
            return secret
    raise CommandError(CONFIG, "no secret: give --secret-file, or set AMI_SECRET")


def _has_terminal() -> bool:
    # Where getpass finds none, it would take the secret from the text on standard input.
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
