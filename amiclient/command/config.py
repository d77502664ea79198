"""The server, the user and the secret: from options, then the environment, then a settings file."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

from amiproto import LocalProtocolError

from ..client import Client
from ..url import parse_url
from .options import EX_CONFIG, EX_NOINPUT, EX_USAGE, CommandError, is_batch

#: The section of the settings file, and the settings in it.
_SECTION = "amisend"
_SETTINGS = ("host", "port", "username", "secret-file", "secret", "timeout", "cafile", "tls", "url")
#: The settings that environment variables give, as AMI_HOST.
_ENVIRONMENT = ("host", "port", "username", "secret", "timeout", "cafile", "url")
#: The argument of the client, for settings with another name.
_CLIENT_ARGUMENTS = {"secret-file": "secret", "cafile": "tls"}


@contextmanager
def open_client(options: argparse.Namespace) -> Iterator[Client]:
    """Yield a client, not connected yet; with ``--loopback`` of a server inside the command.

    At the end the messages that the loopback server received are printed.

    :raises CommandError: for an invalid setting, or if user or secret are missing.
    """
    if not options.loopback:
        yield _make_client(options)
        return
    from ..loopback import SECRET, USERNAME, LoopbackServer

    # A batch can be of any size: its messages are neither kept nor printed.
    with LoopbackServer(keep=0 if is_batch(options) else None) as server:
        yield Client(server.host, server.port, username=USERNAME, secret=SECRET)
        for message in server.messages:
            print(f"The loopback server received:\n{message}", flush=True)


def _make_client(options: argparse.Namespace) -> Client:
    arguments: Dict[str, Any] = {}
    for name, label, text, code in _settings(options):
        argument = _CLIENT_ARGUMENTS.get(name, name)
        if text is None or text is False or argument in arguments:
            continue
        if text == "":
            if code == EX_USAGE:  # for --cafile '' must not mean a connection without TLS
                raise CommandError(code, f"{label} must not be empty")
            continue  # an empty variable counts as unset
        try:
            value = _PARSERS.get(name, str)(text)
        except ValueError as error:
            raise CommandError(code, f"{label}: {error}") from None
        except OSError as error:
            raise CommandError(EX_NOINPUT, f"{label}: {error}") from error
        arguments = {**(value if name == "url" else {argument: value}), **arguments}
    if "username" not in arguments:
        raise CommandError(EX_CONFIG, "missing username: use --username or AMI_USERNAME")
    if "secret" not in arguments:
        arguments["secret"] = _ask_secret(arguments["username"])
    try:
        return Client(**arguments)
    except (LocalProtocolError, ValueError) as error:
        raise CommandError(EX_CONFIG, f"invalid settings: {error}") from error


def _settings(options: argparse.Namespace) -> Iterator[Tuple[str, str, Any, int]]:
    """Yield each setting, in order of precedence.

    As tuples: the name, the name for errors, the text (None if not given), the exit code if it is
    invalid.
    """
    for name in _SETTINGS:
        value = getattr(options, name.replace("-", "_"), None)
        yield name, f"--{name}", value, EX_USAGE
    for name in _ENVIRONMENT:
        variable = f"AMI_{name.upper()}"
        yield name, variable, os.environ.get(variable), EX_CONFIG
    path = _default_file() if options.config is None else options.config
    if path is not None:
        settings = _read_file(path)
        for name in _SETTINGS:
            yield name, f"{path}: {name}", settings.get(name), EX_CONFIG


def _default_file() -> Optional[str]:
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = os.path.join(folder, "amisend.conf")
    return path if os.path.exists(path) else None


def _read_file(path: str) -> Dict[str, str]:
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)  # a secret may contain a percent sign
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise CommandError(EX_NOINPUT, f"--config: {error}") from error
    except UnicodeDecodeError:
        raise CommandError(EX_CONFIG, f"{path}: not valid UTF-8") from None
    except Error as error:
        # The error may quote a line, and with it a secret.
        line = getattr(error, "lineno", None)
        raise CommandError(EX_CONFIG, f"{path}: syntax error on line {line}") from None
    if parser.sections() != [_SECTION]:
        raise CommandError(EX_CONFIG, f"{path}: expected exactly one section, [{_SECTION}]")
    settings = dict(parser[_SECTION])
    for name in settings:
        if name not in _SETTINGS:
            known = ", ".join(_SETTINGS)
            raise CommandError(EX_CONFIG, f"{path}: unknown setting {name!r}; known are {known}")
    if "secret" in settings or "url" in settings:
        _warn_if_readable_by_others(path)
    return settings


def _parse_port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 0 < port < 65536:
        raise ValueError(f"invalid port {text!r}; expected 1 to 65535")
    return port


def _parse_timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e9:
        raise ValueError(f"invalid timeout {text!r}; expected a positive number of seconds")
    return seconds


def _parse_switch(text: Union[str, bool]) -> bool:
    from configparser import ConfigParser

    try:
        return ConfigParser.BOOLEAN_STATES[str(text).lower()]
    except KeyError:
        raise ValueError(f"invalid value {text!r}; expected yes or no") from None


def _parse_url(text: str) -> Dict[str, Any]:
    return {name: value for name, value in parse_url(text).items() if value is not None}


def _read_secret(path: str) -> bytes:
    path = os.path.expanduser(path)
    with open(path, "rb") as file:
        secret = file.read().rstrip(b"\r\n")
    if not secret:
        raise ValueError(f"{path} is empty")
    _warn_if_readable_by_others(path)
    return secret


def _check_readable(path: str) -> str:
    path = os.path.expanduser(path)
    open(path).close()
    return path


#: The functions that turn texts into values; other settings are texts.
_PARSERS: Dict[str, Callable[[Any], Any]] = {
    "port": _parse_port,
    "timeout": _parse_timeout,
    "tls": _parse_switch,
    "cafile": _check_readable,
    "secret": os.fsencode,  # the bytes in the environment, UTF-8 or not
    "secret-file": _read_secret,
    "url": _parse_url,
}


def _warn_if_readable_by_others(path: str) -> None:
    if os.name == "posix" and os.stat(path).st_mode & 0o077:
        print(
            f"amisend: warning: {path} contains a secret and other users have access to it; "
            f"run chmod 600 {path}",
            file=sys.stderr,
        )


def _ask_secret(username: str) -> bytes:
    if sys.stderr is not None and sys.stderr.isatty() and _has_terminal():
        from getpass import getpass

        secret = os.fsencode(getpass(f"Secret of {username}: "))
        if secret:
            return secret
    raise CommandError(EX_CONFIG, "missing secret: use --secret-file or AMI_SECRET")


def _has_terminal() -> bool:
    # Without a terminal, getpass would take the secret from the message on standard input.
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
