"""The command line: which options there are, and what each says of itself.

Exit codes, those of sysexits.h, which cron jobs and mail servers know.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any, Iterable, List, NoReturn, Optional, Tuple

from amiproto import AMIError

from .. import __version__

# The module os has these numbers on POSIX only.
OK = 0
USAGE = 64
DATA = 65
NO_INPUT = 66
FAILED = 69
UNKNOWN = 74
LATER = 75
PROTOCOL = 76
NO_PERMISSION = 77
CONFIG = 78

#: What a signal adds to its number, as in every shell.
SIGNAL = 128

#: The list for ``--help``.
TEXT = """\
exit codes, those of sysexits.h; of several, 74 comes first, then 75:
    0  the server took every message (which is not yet: it was delivered)
   64  the command line is wrong
   65  a message would not arrive as it is, or a line of a batch is no message
   66  a file or the text cannot be read, or standard input is empty
   69  the server answered with an error, and nothing was carried out
   74  it left, and no answer came or could be shown: it may have been sent
   75  it was not sent, and the same may work later: no connection, no time
   76  what answers is no Asterisk manager, or its TLS is not trusted
   77  the server does not accept user and secret
   78  the settings are wrong: host, port, user, secret, time-out, their file
  130  interrupted (SIGINT); 143: terminated (SIGTERM)
"""


class CommandError(Exception):
    """What ends the command before or beside any message.

    :ivar int code: the exit code.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(error: AMIError) -> int:
    """The exit code that stands for an error (int)."""
    from amiproto import LocalProtocolError, LoginFailed, NotSent

    from ..exceptions import ActionFailed

    if error.retryable:
        return LATER
    for kind, code in (
        (LocalProtocolError, DATA),
        (LoginFailed, NO_PERMISSION),
        (ActionFailed, FAILED),
        (NotSent, PROTOCOL),  # TLSError and NotAnAMIServer, as the others are retryable
    ):
        if isinstance(error, kind):
            return code
    return UNKNOWN


def combine_exit_codes(codes: Iterable[int]) -> int:
    """The code for many messages: what needs a look first, else what may go again, else the first.

    :param codes: one for each message, OK among them.
    """
    failed = [code for code in dict.fromkeys(codes) if code != OK]
    for code in (UNKNOWN, LATER):
        if code in failed:
            return code
    return failed[0] if failed else OK


_EPILOG = f"""\
Settings come from the options, then from the environment (AMI_URL, AMI_HOST,
AMI_PORT, AMI_USERNAME, AMI_SECRET, AMI_CAFILE, AMI_TIMEOUT; the others go
before AMI_URL, which is ami://user:secret@host:port or amis:// for TLS), then
from a file, its section [amisend] with the names of the options, and secret
and url. A secret that is found nowhere is asked for on a terminal.

{TEXT}"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, as logs are read by lines."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(USAGE)


class _Once(argparse.Action):
    """An option that may stand once: of two, argparse would drop one without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: Optional[str] = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} was given twice")
        setattr(namespace, self.dest, values)


def parse(arguments: Optional[List[str]]) -> argparse.Namespace:
    """What the command line asks for; ends the process where it is wrong.

    :param arguments: its words without the command's name; None for the process's own.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        # Not what stands with it: a secret, of those who take it for an option, would be in logs.
        name = unknown[0].partition("=")[0]
        if name == "--secret":
            parser.error("a secret on a command line is seen by all; give --secret-file")
        parser.error(f"no option {name}" if name[:1] == "-" else "a word belongs to no option")
    batch = options.batch is not None or options.retry is not None
    if batch and options.to:
        parser.error("--to stands in each line of a batch; leave it out")
    if batch and options.split:
        parser.error("--split makes several messages of one; a line of a batch is one message")
    if options.csv and options.batch is None:
        parser.error("--csv says how to read --batch; give both")
    if not batch and not options.to:
        parser.error("nobody to send to: give --to, --batch or --retry")
    if options.loopback and options.dry_run:
        parser.error("--loopback sends and --dry-run does not; give one of them")
    if options.loopback and (options.tls or options.cafile is not None):
        parser.error("--loopback has no TLS; leave --tls and --cafile out")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="amisend",
        usage="amisend --to ADDRESS [--to ADDRESS ...] [--body TEXT] [options]\n"
        "       amisend --batch FILE [options]",
        description="Send messages through Asterisk (AMI MessageSend), exactly or not at all.",
        epilog=_EPILOG,
        formatter_class=partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=27, width=79
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument_group("the message").add_argument
    add(
        "--to", action="append", metavar="ADDRESS",
        help="pjsip:alice, sip:alice, xmpp:alice@example.org, ...; may be given more than once, "
        "and each gets a message of its own",
    )  # fmt: skip
    add("--from", dest="from_", action=_Once, metavar="FROM",
        help="'Door <sip:door@example.org>', ...")  # fmt: skip
    add("--body", action=_Once, metavar="TEXT",
        help="the text; from standard input, byte for byte, where this is missing; '' for an "
        "empty one")  # fmt: skip
    add("--variable", action="append", type=_pair, metavar="NAME=VALUE",
        help="a header of the SIP message; may be given more than once")  # fmt: skip
    add("--destination", action=_Once, metavar="ADDRESS",
        help="route by this, not by --to (Asterisk 16.22, 18.8, 19 and later)")  # fmt: skip
    add("--split", action="store_true", help="send a text that is too long in several messages")

    group = parser.add_argument_group(
        "many messages",
        "--from, --body, --variable and --destination stand in for what a line lacks.",
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--batch", action=_Once, metavar="FILE",
        help="send each line of a file (- for standard input): JSON objects with to, body, from, "
        "variables, destination, or CSV where its name ends in .csv; each comes out again, as "
        "JSON, with outcome, retryable, action_id and error",
    )  # fmt: skip
    which.add_argument(
        "--retry", action=_Once, metavar="FILE",
        help="of what --batch wrote, send again what was not sent and may work now",
    )  # fmt: skip
    group.add_argument("--csv", action="store_true", help="read --batch as CSV, whatever its name")

    add = parser.add_argument_group("the server").add_argument
    add("--host", action=_Once, help="default 127.0.0.1")
    add("--port", action=_Once, help="default 5038; 5039 with TLS")
    add("--username", action=_Once, metavar="USER", help="the section of manager.conf")
    add("--secret-file", action=_Once, metavar="FILE",
        help="a file with the secret and nothing else")  # fmt: skip
    add("--timeout", action=_Once, metavar="SECONDS", help="for each step; default 10")
    add("--tls", action="store_true", help="use TLS, and trust the system's authorities")
    add("--cafile", action=_Once, metavar="FILE",
        help="use TLS, and trust this CA or server certificate (PEM)")  # fmt: skip
    add("--config", action=_Once, metavar="FILE",
        help="the file with settings; default: amisend.conf in the user's configuration folder "
        "($XDG_CONFIG_HOME or ~/.config)")  # fmt: skip
    add("--loopback", action="store_true",
        help="send to a server inside this command, and show what it received")  # fmt: skip

    add = parser.add_argument_group("what is said").add_argument
    add("--dry-run", action="store_true",
        help="send nothing: write the exact lines that would leave; the ActionID is drawn anew "
        "each time")  # fmt: skip
    add("--quiet", action="store_true", help="say nothing of what went well")
    add("--verbose", action="store_true", help="say each step on standard error, and no secret")
    add("--version", action="version", version=f"amisend {__version__}")
    return parser


def _pair(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
