"""Exit codes, those of sysexits.h, which cron jobs and mail servers know."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from amiproto import AMIError

# The module os has these numbers on POSIX only.
OK = 0
USAGE = 64
DATA = 65
NO_INPUT = 66
REFUSED = 69
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


class Problem(Exception):
    """What ends the command before or beside any message.

    :ivar int code: the exit code.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(error: AMIError) -> int:
    """The exit code that stands for an error (int)."""
    from amiproto import LocalProtocolError, LoginRefused

    from ..errors import NotSent, Refused

    if error.retryable:
        return LATER
    for kind, code in (
        (LocalProtocolError, DATA),
        (LoginRefused, NO_PERMISSION),
        (Refused, REFUSED),
        (NotSent, PROTOCOL),  # TLSError and NotAManager, as the others are retryable
    ):
        if isinstance(error, kind):
            return code
    return UNKNOWN


def worst(codes: Iterable[int]) -> int:
    """The code for many messages: what needs a look first, else what may go again, else the first.

    :param codes: one for each message, OK among them.
    """
    failed = [code for code in dict.fromkeys(codes) if code != OK]
    for code in (UNKNOWN, LATER):
        if code in failed:
            return code
    return failed[0] if failed else OK
