"""The server, the user and the secret: from options, then the environment, then settings files."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Tuple, Type, Union

from amiproto import LocalProtocolError

from ..client import Client
from ..url import parse_url
from .options import CommandError, Exit, report, write_out

#: The settings file for all users.
SYSTEM_FILE = "/etc/amisend.conf"

#: The names of the settings in a file; options and environment variables have the same ones.
_SETTINGS = (
    "host", "port", "username", "secret-file", "secret", "timeout", "cafile", "tls", "tls-hostname",
    "mechanism", "from", "url",
)  # fmt: skip
#: The arguments of the client, for settings with another name.
_CLIENT_ARGUMENTS = {"secret-file": "secret", "cafile": "tls", "tls-hostname": "tls_hostname"}


class Settings:
    """The arguments of the client; their sources are added to the options, and so is a From.

    :raises CommandError: for an invalid setting.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._sources = sources = options.sources
        self._arguments: Dict[str, Any] = {}
        self._files: List[str] = []
        for name, label, text, code in self._read(options):
            argument = _CLIENT_ARGUMENTS.get(name, name)
            if text is None or text is False or argument in self._arguments:
                continue
            if text == "":
                if code == Exit.USAGE:  # for --cafile '' must not mean a connection without TLS
                    raise CommandError(code, f"{label} must not be empty")
                continue  # an empty variable counts as unset
            try:
                value = _PARSERS.get(name, str)(text)
            except ValueError as error:
                raise CommandError(code, f"{label}: {error}") from None
            except OSError as error:
                raise CommandError(Exit.NOINPUT, f"{label}: {error}") from error
            given = value if name == "url" else {argument: value}
            for key in given.keys() - self._arguments.keys():
                self._arguments[key], sources[key] = given[key], label
        if "from" in self._arguments:
            options.message.setdefault("from_", self._arguments.pop("from"))

    def make_client(self) -> Client:
        """Return the client, not connected yet; ask for a missing secret.

        :raises CommandError: for an invalid setting, or if the user or the secret is missing.
        """
        arguments, sources = self._arguments, self._sources
        looked_for = f"; settings files looked for: {', '.join(self._files)}"
        problem = ""
        if "username" not in arguments:
            problem = "missing username: use --username or AMI_USERNAME" + looked_for
        elif "tls_hostname" in arguments and not arguments.get("tls"):
            problem = f"{sources['tls_hostname']}: TLS is off; use --tls or --cafile"
        elif "secret" not in arguments:
            arguments["secret"], sources["secret"] = _ask_secret(arguments["username"]), "typed"
            if not arguments["secret"]:
                problem = "missing secret: use --secret-file or AMI_SECRET" + looked_for
        if problem:
            raise CommandError(Exit.CONFIG, problem)
        try:
            return Client(**arguments)
        except (LocalProtocolError, ValueError) as error:
            field = getattr(error, "field", None) or str(error).split()[0]
            label = sources.get(field.lower(), "invalid settings")
            raise CommandError(Exit.CONFIG, f"{label}: {error}") from error

    def _read(self, options: argparse.Namespace) -> Iterator[Tuple[str, str, Any, int]]:
        """Yield the name, source, text (or None) and exit code of each setting, in precedence."""
        for name in _SETTINGS:
            value = getattr(options, name.replace("-", "_"), None)
            yield name, f"--{name}", value, Exit.USAGE
        for name in _SETTINGS:
            variable = f"AMI_{name.upper().replace('-', '_')}"
            yield name, variable, os.environ.get(variable), Exit.CONFIG
        path = os.environ.get("AMI_CONFIG") if options.config is None else options.config
        if options.config == "":
            raise CommandError(Exit.USAGE, "--config must not be empty")
        folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        self._files = [path] if path else [os.path.join(folder, "amisend.conf"), SYSTEM_FILE]
        for one in self._files:
            settings = _read_file(one, is_optional=not path)
            for name in _SETTINGS:
                if name in settings:
                    number, text = settings[name]
                    yield name, f"{one}: line {number}: {name}", text, Exit.CONFIG


@contextmanager
def open_client(options: argparse.Namespace, settings: Settings) -> Iterator[Client]:
    """Yield a client that is not connected yet.

    With ``--loopback``, its server runs inside the command. At the end the messages that it
    received are printed; those of a batch, to standard error.
    """
    if not options.loopback:
        with closing(settings.make_client()) as client:
            yield client
        return
    from ..loopback import SECRET, USERNAME, LoopbackServer

    with LoopbackServer(technologies=("sip", "pjsip", "xmpp")) as server:  # no version has all
        address = server.host, server.port
        with closing(Client(*address, username=USERNAME, secret=SECRET)) as client:
            yield client
        show = report if options.is_batch else write_out
        for message in server.messages:
            for line in f"The loopback server received:\n{message}".splitlines():
                show(line)


def _read_file(path: str, is_optional: bool) -> Dict[str, Tuple[int, str]]:
    """Return the number of the line and the text of each setting in a file."""
    # Not by configparser, whose errors quote lines, and with them secrets.
    settings: Dict[str, Tuple[int, str]] = {}
    in_section = False
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except OSError as error:
        if is_optional and isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return settings
        raise CommandError(Exit.NOINPUT, f"cannot read the settings file: {error}") from error
    except UnicodeDecodeError:
        raise CommandError(Exit.CONFIG, f"{path}: not UTF-8") from None
    for number, line in enumerate(lines, 1):
        name, equals, text = (part.strip() for part in line.partition("="))
        name = name.lower()
        problem = ""
        if not line.strip() or name[0] in "#;":
            continue
        if line.strip() == "[amisend]":
            in_section = True
        elif name[0] == "[" or not in_section:
            problem = "expected the section [amisend], and no other"
        elif not equals:
            problem = "expected NAME = VALUE"
        elif name not in _SETTINGS:
            problem = f"unknown setting; known are {', '.join(_SETTINGS)}"
        elif name in settings:
            problem = f"{name!r} is already set on line {settings[name][0]}"
        else:
            settings[name] = number, text
        if problem:
            raise CommandError(Exit.CONFIG, f"{path}: line {number}: {problem}")
    if "secret" in settings or "url" in settings:
        _warn_if_readable_by_all(path)
    return settings


def _parse_host(text: str) -> str:
    if "://" in text or "@" in text:  # not quoted: it may hold a secret
        raise ValueError("expected a host name or address; for a URL use AMI_URL")
    return text[1:-1] if text[0] == "[" and text[-1] == "]" else text


def _parse_number(kind: Type[float], limit: int, text: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = kind(0)
    if not 0 < number < limit or text != text.strip():
        raise ValueError(f"invalid value {text!r}; expected a number above 0, below {limit}")
    return number


def _parse_switch(text: Union[str, bool]) -> bool:
    if text not in (True, "yes", "no"):
        raise ValueError(f"invalid value {text!r}; expected yes or no")
    return text != "no"


def _check_readable(path: str) -> str:
    path = os.path.expanduser(path)
    open(path).close()
    return path


def _read_secret(path: str) -> bytes:
    path = os.path.expanduser(path)
    with open(path, "rb") as file:
        secret = file.read().rstrip(b"\r\n")
    if not secret:
        raise ValueError(f"{path} is empty")
    _warn_if_readable_by_all(path)
    return secret


#: The functions that turn texts into values; other settings are texts.
_PARSERS: Dict[str, Callable[[Any], Any]] = {
    "host": _parse_host,
    "port": partial(_parse_number, int, 65536),
    "timeout": partial(_parse_number, float, 1_000_000),
    "tls": _parse_switch,
    "cafile": _check_readable,
    "secret": os.fsencode,  # the bytes in the environment, UTF-8 or not
    "secret-file": _read_secret,
    "url": parse_url,
}


def _warn_if_readable_by_all(path: str) -> None:
    if os.name == "posix" and os.stat(path).st_mode & 0o004:
        report(f"warning: all users can read the secret in {path}; run chmod o= {path}")


def _ask_secret(username: str) -> bytes:
    """Ask for the secret on the terminal; return ``b""`` without a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return b""
    try:
        # Without a terminal, getpass would take the secret from the message on standard input.
        os.close(os.open("/dev/tty", os.O_RDWR))
        from getpass import getpass

        return os.fsencode(getpass(f"Secret of {username}: "))
    except (OSError, EOFError):
        return b""
