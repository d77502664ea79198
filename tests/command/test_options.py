"""The options of the command: what ``--help`` says, and what is wrong with a command line."""

from __future__ import annotations

from typing import List

import pytest

from amiclient.command.options import TEXT
from tests.certificates import SERVER_PEM
from tests.command.shell import Runner

HELP = """\
usage: amisend --to ADDRESS [--to ADDRESS ...] [--body TEXT] [options]
       amisend --batch FILE [options]

Send messages through Asterisk (AMI MessageSend), exactly or not at all.

options:
  -h, --help             show this help message and exit

the message:
  --to ADDRESS           pjsip:alice, sip:alice, xmpp:alice@example.org, ...;
                         may be given more than once, and each gets a message
                         of its own
  --from FROM            'Door <sip:door@example.org>', ...
  --body TEXT            the text; from standard input, byte for byte, where
                         this is missing; '' for an empty one
  --variable NAME=VALUE  a header of the SIP message; may be given more than
                         once
  --destination ADDRESS  route by this, not by --to (Asterisk 16.22, 18.8, 19
                         and later)
  --split                send a text that is too long in several messages

many messages:
  --from, --body, --variable and --destination stand in for what a line lacks.

  --batch FILE           send each line of a file (- for standard input): JSON
                         objects with to, body, from, variables, destination,
                         or CSV where its name ends in .csv; each comes out
                         again, as JSON, with outcome, retryable, action_id and
                         error
  --retry FILE           of what --batch wrote, send again what was not sent
                         and may work now
  --csv                  read --batch as CSV, whatever its name

the server:
  --host HOST            default 127.0.0.1
  --port PORT            default 5038; 5039 with TLS
  --username USER        the section of manager.conf
  --secret-file FILE     a file with the secret and nothing else
  --timeout SECONDS      for each step; default 10
  --tls                  use TLS, and trust the system's authorities
  --cafile FILE          use TLS, and trust this CA or server certificate (PEM)
  --config FILE          the file with settings; default: amisend.conf in the
                         user's configuration folder ($XDG_CONFIG_HOME or
                         ~/.config)
  --loopback             send to a server inside this command, and show what it
                         received

what is said:
  --dry-run              send nothing: write the exact lines that would leave;
                         the ActionID is drawn anew each time
  --quiet                say nothing of what went well
  --verbose              say each step on standard error, and no secret
  --version              show program's version number and exit

Settings come from the options, then from the environment (AMI_URL, AMI_HOST,
AMI_PORT, AMI_USERNAME, AMI_SECRET, AMI_CAFILE, AMI_TIMEOUT; the others go
before AMI_URL, which is ami://user:secret@host:port or amis:// for TLS), then
from a file, its section [amisend] with the names of the options, and secret
and url. A secret that is found nowhere is asked for on a terminal.

""" + TEXT


def test_the_help_is_this(run: Runner) -> None:
    code, out, err = run("--help")
    # Before Python 3.10 argparse has another word for them.
    assert out.replace("optional arguments:\n", "options:\n") == HELP
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) < 80


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "nobody to send to: give --to, --batch or --retry"),
        (["--to", "sip:a", "--nonsense"], "no option --nonsense"),
        (["--to", "sip:a", "--bod=x"], "no option --bod"),
        (["--to", "sip:a", "sip:b"], "a word belongs to no option"),
        (["--to", "sip:a", "--secret=x"],
         "a secret on a command line is seen by all; give --secret-file"),
        (["--to", "sip:a", "--variable", "no equals sign"],
         "argument --variable: 'no equals sign' is not NAME=VALUE"),
        (["--batch", "-", "--to", "sip:a"], "--to stands in each line of a batch; leave it out"),
        (["--retry", "-", "--to", "sip:a"], "--to stands in each line of a batch; leave it out"),
        (["--batch", "-", "--split"],
         "--split makes several messages of one; a line of a batch is one message"),
        (["--batch", "-", "--retry", "-"],
         "argument --retry: not allowed with argument --batch"),
        (["--retry", "-", "--csv"], "--csv says how to read --batch; give both"),
        (["--to", "sip:a", "--csv"], "--csv says how to read --batch; give both"),
        (["--to", "sip:a", "--loopback", "--dry-run"],
         "--loopback sends and --dry-run does not; give one of them"),
        (["--to", "sip:a", "--loopback", "--tls"],
         "--loopback has no TLS; leave --tls and --cafile out"),
        (["--to", "sip:a", "--loopback", "--cafile", ""],
         "--loopback has no TLS; leave --tls and --cafile out"),
        (["--to", "sip:a", "--loopback", "--cafile", SERVER_PEM],
         "--loopback has no TLS; leave --tls and --cafile out"),
    ],
)  # fmt: skip
def test_a_command_line_that_is_wrong(arguments: List[str], words: str, run: Runner) -> None:
    assert run(*arguments) == (64, "", f"amisend: {words}; see amisend --help\n")


ONCE = "from body destination batch retry host port username secret-file timeout cafile config"


@pytest.mark.parametrize("option", ONCE.split())
def test_of_two_values_none_is_dropped(option: str, run: Runner) -> None:
    one = [f"--{option}", "7"]
    assert run("--to", "sip:a", *one, *one) == (
        64, "", f"amisend: --{option} was given twice; see amisend --help\n"
    )  # fmt: skip
