"""The command line: options, exit codes, and the text of errors."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any, Dict, Iterable, List, NoReturn, Optional, Tuple

from amiproto import (
    AMIError,
    BodyTooLong,
    InvalidVariable,
    LocalProtocolError,
    LoginFailed,
    NotSent,
)
from amiproto.messaging import HEADERS, field_keys

from .. import __version__
from ..exceptions import ActionFailed

# Exit codes by their names in sysexits.h; the module os has them on POSIX only.
EX_OK = 0
EX_USAGE = 64
EX_DATAERR = 65
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_PROTOCOL = 76
EX_NOPERM = 77
EX_CONFIG = 78

#: Added to the number of a signal, as shells do.
EX_SIGNAL = 128

#: The exit codes, as ``--help`` lists them.
EXIT_CODES = """\
exit codes (sysexits.h); with several failures, 74 takes precedence, then 75:
    0  the server accepted all messages (accepted is not yet delivered)
   64  invalid command line
   65  a message cannot be sent exactly, or a line of a batch is invalid
   66  the input cannot be read, or is empty
   69  the server returned an error; the message was not sent
   74  outcome unknown: sent, but no response was received, or the result could
       not be written
   75  temporary failure: not sent, try again later (no connection, timeout)
   76  the peer is not an AMI server, or its certificate is not trusted
   77  the server rejected the user or the secret
   78  invalid configuration
  130  interrupted (SIGINT); 143: terminated (SIGTERM)
"""

_EPILOG = f"""\
Settings are read from the options, then from the environment (AMI_HOST,
AMI_PORT, AMI_USERNAME, AMI_SECRET, AMI_CAFILE, AMI_TIMEOUT, and after them
AMI_URL: ami://user:secret@host:port, or amis:// for TLS), then from the
section [amisend] of the settings file, which has the names of the options,
secret and url. A missing secret is prompted for on a terminal.

{EXIT_CODES}"""


class CommandError(Exception):
    """An error that ends the command.

    :ivar int code: the exit code.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: AMIError) -> int:
    """Return the exit code for an error (int)."""
    if error.retryable:
        return EX_TEMPFAIL
    for kind, code in (
        (LocalProtocolError, EX_DATAERR),
        (LoginFailed, EX_NOPERM),
        (ActionFailed, EX_UNAVAILABLE),
        (NotSent, EX_PROTOCOL),  # TLSError and NotAnAMIServer: the others are retryable
    ):
        if isinstance(error, kind):
            return code
    return EX_IOERR


def combine_exit_codes(codes: Iterable[int]) -> int:
    """Return the exit code for several messages: EX_IOERR, else EX_TEMPFAIL, else the first.

    :param codes: one for each message, with EX_OK for those accepted.
    """
    failures = [code for code in dict.fromkeys(codes) if code != EX_OK]
    for code in (EX_IOERR, EX_TEMPFAIL):
        if code in failures:
            return code
    return failures[0] if failures else EX_OK


def _option_name(header: str) -> str:
    return f"--{header.lower()}"


#: The option for the ``field`` of an error.
_OPTION_OF_FIELD = {
    **{header: _option_name(header) for header in HEADERS.values()},
    "host": "--host", "port": "--port", "tls": "--cafile",
}  # fmt: skip


def one_line(error: AMIError) -> str:
    """Return the message of an error as one line; the text of a server may contain line ends."""
    return " ".join(str(error).split())


def describe_error(error: AMIError) -> str:
    """Return an error as one line, with the option it is about and a hint."""
    text = one_line(error)
    if isinstance(error, InvalidVariable):  # its field is the name of the variable
        return f"--variable: {text}"
    if error.field in _OPTION_OF_FIELD:
        text = f"{_OPTION_OF_FIELD[error.field]}: {text}"
    if isinstance(error, BodyTooLong):
        text += "; --split sends it in several messages"
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the error on one line, because logs are read by lines."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(EX_USAGE)


class _Once(argparse.Action):
    """An option of the message, given at most once: argparse would silently use the last."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: Optional[str] = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} given more than once")
        setattr(namespace, self.dest, values)


def parse(arguments: Optional[List[str]]) -> argparse.Namespace:
    """Parse the command line; exit if it is invalid.

    :param arguments: the arguments without the name of the command; None for those of the process.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        # The name only: its value may be a secret, which must not appear in a log.
        name = unknown[0].partition("=")[0]
        if name == "--secret":
            parser.error("other users can see a secret on the command line; use --secret-file")
        parser.error(f"unknown option {name}" if name[:1] == "-" else "unexpected argument")
    if is_batch(options):
        if options.to:
            parser.error("--to cannot be used with --batch or --retry: each line has its own")
        if options.split:
            parser.error("--split cannot be used with --batch or --retry: a line is one message")
    elif not options.to:
        parser.error("one of --to, --batch or --retry is required")
    if options.csv and options.batch is None:
        parser.error("--csv requires --batch")
    if options.loopback and options.dry_run:
        parser.error("--loopback and --dry-run cannot be used together")
    if options.loopback and (options.tls or options.cafile is not None):
        parser.error("--loopback cannot be used with --tls or --cafile")
    return options


def is_batch(options: argparse.Namespace) -> bool:
    """Return True for a file of messages, False for one text to the recipients."""
    return options.batch is not None or options.retry is not None


def message_arguments(options: argparse.Namespace) -> Dict[str, Any]:
    """Return the arguments of a message that the options give, except ``to``."""
    given = vars(options)
    return {name: given[name] for name in HEADERS if name != "to" and given[name] is not None}


def _pair(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


#: The options for the fields of a message; a field that is not listed has a plain one.
_MESSAGE_OPTIONS: Dict[str, Dict[str, Any]] = {
    "to": {
        "action": "append", "metavar": "ADDRESS",
        "help": "recipient: pjsip:alice, sip:alice, xmpp:alice@example.org, ...; may be repeated, "
        "for one message each",
    },
    "body": {
        "metavar": "TEXT",
        "help": "message text (default: standard input, verbatim; '' for an empty message)",
    },
    "from_": {"metavar": "FROM", "help": "sender: 'Door <sip:door@example.org>', ..."},
    "variables": {
        "action": "append", "type": _pair, "metavar": "NAME=VALUE",
        "help": "additional SIP header; may be repeated",
    },
    "destination": {
        "metavar": "ADDRESS",
        "help": "route to this address instead of --to (Asterisk 16.22, 18.8, 19 and later)",
    },
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="amisend",
        usage="amisend --to ADDRESS [--to ADDRESS ...] [--body TEXT] [options]\n"
        "       amisend --batch FILE [options]\n"
        "       amisend --retry FILE [options]",
        description="Send messages through Asterisk (AMI MessageSend), exactly or not at all.",
        epilog=_EPILOG,
        formatter_class=partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=27, width=79
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument_group("message").add_argument
    for name, header in HEADERS.items():
        arguments: Dict[str, Any] = {
            "action": _Once, "metavar": "VALUE", "help": f"the header {header}"
        }  # fmt: skip
        arguments.update(_MESSAGE_OPTIONS.get(name, {}))
        add(_option_name(header), dest=name, **arguments)
    add("--split", action="store_true", help="send an over-long text in several messages")

    group = parser.add_argument_group(
        "batch", "The message options (not --to) are defaults for fields missing from a line."
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--batch", action=_Once, metavar="FILE",
        help="send one message per line of FILE (- for standard input): JSON objects with the keys "
        f"{', '.join(field_keys())}, or CSV if the name ends in .csv; prints each line as JSON "
        "with outcome, retryable, action_id and error added",
    )  # fmt: skip
    which.add_argument(
        "--retry", action=_Once, metavar="FILE",
        help="send the retryable messages in the output of an earlier --batch again",
    )  # fmt: skip
    group.add_argument(
        "--csv", action="store_true",
        help="read FILE as CSV, whatever its name; the first row names the columns, with "
        "variable:NAME for a variable",
    )  # fmt: skip

    add = parser.add_argument_group("server").add_argument
    add("--host", help="default: 127.0.0.1")
    add("--port", help="default: 5038, or 5039 with TLS")
    add("--username", metavar="USER", help="AMI user: the name of its section in manager.conf")
    add("--secret-file", metavar="FILE", help="file that contains the secret only")
    add("--timeout", metavar="SECONDS", help="timeout of each step (default: 10)")
    add("--tls", action="store_true", help="use TLS; trust the CAs of the system")
    add("--cafile", metavar="FILE", help="use TLS; trust this CA or server certificate (PEM)")
    add(
        "--config", metavar="FILE",
        help="settings file (default: $XDG_CONFIG_HOME/amisend.conf or ~/.config/amisend.conf)",
    )  # fmt: skip
    add("--loopback", action="store_true",
        help="send to a built-in test server and print the messages it received")  # fmt: skip

    add = parser.add_argument_group("output").add_argument
    add(
        "--dry-run", action="store_true",
        help="print the exact bytes of each message and send nothing; ActionIDs are random",
    )  # fmt: skip
    add("--quiet", action="store_true", help="report failures only")
    add("--verbose", action="store_true", help="log each step to standard error, without secrets")
    add("--version", action="version", version=f"amisend {__version__}")
    return parser
