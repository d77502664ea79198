"""The command line: options, exit codes, and the text of errors."""

from __future__ import annotations

import argparse
import io
import sys
from functools import partial
from typing import Collection, List, Mapping, NoReturn, Optional, Tuple, Union

import amiproto
from amiproto import AMIError, BodyTooLong, LocalProtocolError, LoginFailed, NotSent
from amiproto.messaging import HEADERS, field_keys

from .. import __version__
from ..exceptions import PERMISSION_DENIED, ActionFailed


class Exit:
    """The exit codes, with their names in sysexits.h; the module os has them on POSIX only."""

    OK, USAGE, DATAERR, NOINPUT, UNAVAILABLE = 0, 64, 65, 66, 69
    IOERR, TEMPFAIL, PROTOCOL, NOPERM, CONFIG = 74, 75, 76, 77, 78
    SIGNAL = 128  # added to the number of a signal, as shells do


#: Exit codes of failures, the most important first: unknown outcomes, then retryable ones.
_PRECEDENCE = (
    Exit.IOERR, Exit.TEMPFAIL, Exit.NOPERM, Exit.PROTOCOL, Exit.UNAVAILABLE, Exit.DATAERR
)  # fmt: skip

_EPILOG = """\
Settings are read from the options, then from the environment, then from the
user's settings file, then from /etc/amisend.conf. The names are those of the
options of the server, and from, secret, mechanism, and url, which comes after
the others: ami://user:secret@host:port, or amis:// for TLS. A file has lines
NAME = VALUE in a section [amisend]; a variable is AMI_HOST, AMI_SECRET and so
on. --config or AMI_CONFIG replaces both files. A missing secret is prompted
for on a terminal.

After SIGHUP, SIGINT or SIGTERM nothing more is sent, messages in flight are
awaited, and every line that was read is in the output of a batch. After
SIGKILL, up to 32 lines after the last line of the output may have been sent.
To send no line twice, repeat the command with --skip N, where N is the number
of lines in the output plus 32.

exit codes (sysexits.h); of several failures, the first of 74 75 77 76 69 65:
    0  the server accepted all messages (accepted is not yet delivered)
   64  invalid command line
   65  a message cannot be sent exactly, or a line of a batch is invalid
   66  the input cannot be read, or the text of a message is empty
   69  the server returned an error; the message was not sent
   74  outcome unknown: sent, but no response was received, or the result could
       not be written
   75  temporary failure: not sent, try again later (no connection, timeout,
       phone not registered)
   76  the peer is not an AMI server, or its certificate is not trusted
   77  the server rejected the user or the secret, or the user may not send
   78  invalid configuration
  129  SIGHUP; 130: SIGINT; 143: SIGTERM
"""


class CommandError(Exception):
    """An error that ends the command; its arguments are the exit code and the message."""


def exit_code(error: AMIError) -> int:
    """Return the exit code for an error (int)."""
    if error.retryable:
        return Exit.TEMPFAIL
    if isinstance(error, ActionFailed):
        return Exit.NOPERM if error.server_message == PERMISSION_DENIED else Exit.UNAVAILABLE
    if isinstance(error, LocalProtocolError):
        return Exit.DATAERR
    if isinstance(error, LoginFailed):
        return Exit.NOPERM
    # TLSError and NotAnAMIServer: the others are retryable.
    return Exit.PROTOCOL if isinstance(error, NotSent) else Exit.IOERR


def worst_code(codes: Collection[int]) -> int:
    """Return the most important of the exit codes of several messages (int)."""
    return next((code for code in _PRECEDENCE if code in codes), Exit.OK)


def describe_error(error: AMIError, sources: Mapping[str, str]) -> str:
    """Return the message of an error, with the option or setting it is about and a hint."""
    text, field = str(error), error.field or ""
    source = f"--{field.lower()}" if field in HEADERS.values() else sources.get(field)
    if isinstance(error, amiproto.InvalidVariable):  # its field is the name of the variable
        source = "--variable"
    if source:
        text = f"{source}: {text}"
    if isinstance(error, BodyTooLong):
        text += "; --split sends it in several messages"
    elif isinstance(error, LoginFailed) and "secret" in sources:
        text += f" (username: {sources['username']}, secret: {sources['secret']})"
    elif field == "tls_hostname":
        text += "; --tls-hostname sets the name that it must have"
    elif field == "tls" and "cafile" not in sources.get("tls", "").lower():
        text += "; --cafile FILE trusts the certificate in FILE"
    return text


def printable(text: str) -> str:
    """Escape unprintable characters, such as line ends and terminal sequences of a server."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def report(text: str) -> None:
    """Print one line to standard error; do nothing if it is closed or full."""
    try:
        if sys.stderr is not None:
            print(f"amisend: {printable(text)}", file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = io.StringIO()  # Python flushes it at exit, or else fails with 120


def write_out(data: Union[str, bytes]) -> None:
    """Write a line (str) or bytes to standard output.

    :raises OSError: if it is full, or the other end of a pipe was closed.
    """
    if isinstance(data, str):
        print(printable(data), flush=True)
        return
    while data:  # with PYTHONUNBUFFERED, a write may be partial
        data = data[sys.stdout.buffer.write(data) :]
    sys.stdout.buffer.flush()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report the error on one line, because logs are read by lines."""
        if message.endswith("expected one argument"):
            option = message.split()[1].rstrip(":")
            message += f"; write {option}=-x for a value that starts with a dash"
        report(f"{message}; see amisend --help")
        sys.exit(Exit.USAGE)


def parse(arguments: Optional[List[str]]) -> argparse.Namespace:
    """Parse the command line; exit if it is invalid.

    :param arguments: the arguments without the name of the command; None for those of the process.
    :return: the options; also ``is_batch``, ``message`` (the arguments of the message that are
        given, without ``to``) and ``sources`` (where each argument of the client is from).
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        # The name only: its value may be a secret, which must not appear in a log.
        name = unknown[0].partition("=")[0]
        if name == "--secret":
            parser.error("other users can see a secret on the command line; use --secret-file")
        parser.error(f"unknown option {name}" if name[:1] == "-" else "unexpected argument")
    for name in ("batch", "retry", "body", "body_file", "from_", "destination"):
        values = getattr(options, name) or [None]
        if len(values) > 1:  # argparse would silently use the last
            parser.error(f"--{name.rstrip('_').replace('_', '-')} given more than once")
        setattr(options, name, values[0])
    options.is_batch = options.batch is not None or options.retry is not None
    is_tls = options.tls or options.cafile is not None or options.tls_hostname is not None
    for is_wrong, message in (
        (options.split and not options.to, "--split requires --to"),
        (options.body_file is not None and not options.to, "--body-file requires --to"),
        (None not in (options.body, options.body_file), "use --body or --body-file, not both"),
        (options.skip and not options.is_batch, "--skip requires --batch or --retry"),
        (options.skip < 0, f"--skip is {options.skip}; the minimum is 0"),
        (options.dry_run and options.loopback, "--dry-run cannot be used with --loopback"),
        (options.dry_run and options.check, "--dry-run cannot be used with --check"),
        (options.loopback and is_tls, "--loopback cannot be used with TLS"),
    ):
        if is_wrong:
            parser.error(message)
    given = {name: getattr(options, name) for name in HEADERS if name != "to"}
    options.message = {name: value for name, value in given.items() if value is not None}
    options.sources = {}
    return options


def _pair(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


# fmt: off
def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="amisend",
        usage="amisend --to ADDRESS [--to ADDRESS ...] [--body TEXT] [options]\n"
        "       amisend --batch FILE | --retry FILE [options]\n"
        "       amisend --check [options]",
        description="Send messages through Asterisk (AMI MessageSend), exactly or not at all.",
        epilog=_EPILOG,
        formatter_class=partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=27, width=79
        ),
        allow_abbrev=False,
    )
    group = parser.add_argument_group("one of")
    add = group.add_mutually_exclusive_group(required=True).add_argument
    add("--to", action="append", metavar="ADDRESS",
        help="recipient: pjsip:alice, sip:alice, xmpp:alice@example.org, ...; may be repeated, for "
        "one message each")
    add("--batch", action="append", metavar="FILE",
        help="send one message per line of FILE (- for standard input): JSON objects with the keys "
        f"{', '.join(field_keys())}, or CSV with a header of these names, and variable:NAME for a "
        "variable; prints each line as JSON with outcome, retryable, action_id and error added. "
        "Message options are defaults for missing fields")
    add("--retry", action="append", metavar="FILE",
        help="send the retryable messages in the output of an earlier --batch again, and print its "
        "other lines unchanged")
    add("--check", action="store_true",
        help="log in, and report whether the user may send messages; send nothing")

    add = parser.add_argument_group("message").add_argument
    add("--body", action="append", metavar="TEXT",
        help="message text (default: standard input without its last line end; '' for an empty "
        "message)")
    add("--body-file", action="append", metavar="FILE",
        help="message text: all bytes of FILE (- for standard input)")
    add("--split", action="store_true", help="send an over-long text in several messages")
    add("--from", action="append", dest="from_", metavar="FROM",
        help="sender: 'Door <sip:door@example.org>', ...")
    add("--variable", action="append", dest="variables", type=_pair, metavar="NAME=VALUE",
        help="additional SIP header; may be repeated")
    add("--destination", action="append", metavar="ADDRESS",
        help="route to this address instead of --to (Asterisk 16.22, 18.8, 19 and later)")
    add("--skip", type=int, default=0, metavar="N",
        help="leave out the first N messages of a batch")

    add = parser.add_argument_group("server").add_argument
    add("--host", help="default: 127.0.0.1")
    add("--port", help="default: 5038, or 5039 with TLS")
    add("--username", metavar="USER", help="AMI user: the name of its section in manager.conf")
    add("--secret-file", metavar="FILE", help="file that contains the secret only")
    add("--timeout", metavar="SECONDS", help="timeout of each step (default: 10)")
    add("--tls", action="store_true", help="use TLS; trust the CAs of the system")
    add("--cafile", metavar="FILE", help="use TLS; trust this CA or server certificate (PEM)")
    add("--tls-hostname", metavar="NAME",
        help="the name that the certificate must have (default: that of --host)")
    add("--config", metavar="FILE",
        help="settings file (default: $XDG_CONFIG_HOME/amisend.conf or ~/.config/amisend.conf, "
        "then /etc/amisend.conf)")
    add("--loopback", action="store_true",
        help="send to a built-in test server and print the messages it received")

    add = parser.add_argument_group("output").add_argument
    add("--dry-run", action="store_true",
        help="print the exact bytes of each message and send nothing; ActionIDs are random")
    add("--quiet", action="store_true", help="report failures only")
    add("--verbose", action="store_true", help="log each step to standard error, without secrets")
    add("--version", action="version", version=f"amisend {__version__}")
    return parser
