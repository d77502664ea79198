"""The command line: the output of ``--help``, and invalid options."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from amiclient.command.options import parse
from tests.command.shell import Runner, assert_one_line

HELP = Path(__file__).with_name("help.txt")


def test_help_output(run: Runner) -> None:
    code, out, err = run("--help")
    # Python 3.8 and 3.9 print another title.
    assert out.replace("optional arguments:\n", "options:\n") == HELP.read_text()
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) < 80


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--to", "sip:a", "--nonsense"], ["--to", "sip:a", "--bod=x"],
        ["--to", "sip:a", "sip:b"], ["--to", "sip:a", "--variable", "no equals sign"],
        ["--batch", "-", "--to", "sip:a"], ["--retry", "-", "--to", "sip:a"],
        ["--batch", "-", "--split"], ["--batch", "-", "--retry", "-"], ["--check", "--split"],
        ["--check", "--to", "sip:a"], ["--batch", "-", "--body-file", "x"],
        ["--check", "--dry-run"],
        ["--to", "sip:a", "--body", "", "--body-file", "x"],
        ["--to", "sip:a", "--skip", "1"], ["--batch", "-", "--skip", "-1"],
        ["--batch", "-", "--skip", "x"], ["--to", "sip:a", "--loopback", "--dry-run"],
        ["--to", "sip:a", "--tls", "--loopback"], ["--to", "sip:a", "--cafile", "", "--loopback"],
        ["--to", "sip:a", "--tls-hostname", "x", "--loopback"],
    ],
)  # fmt: skip
def test_invalid_command_line(arguments: List[str], run: Runner) -> None:
    result = run(*arguments)
    options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    assert_one_line(result, 64, options[-1] if options[1:] else "--")
    assert result[1] == ""


def test_value_that_starts_with_a_dash(run: Runner) -> None:
    assert_one_line(run("--to", "sip:a", "--body", "-x"), 64, "--body=-x")
    assert run("--to", "sip:a", "--body=-x", "--dry-run")[0] == 0


@pytest.mark.parametrize("option", ["from", "body", "body-file", "destination", "batch", "retry"])
def test_repeated_message_option_is_an_error(option: str, run: Runner) -> None:
    assert_one_line(run("--to", "sip:a", f"--{option}", "1", f"--{option}", "2"), 64, option)


@pytest.mark.parametrize(
    "option", ["host", "port", "username", "secret-file", "timeout", "cafile", "config"]
)
def test_repeated_connection_option_overrides(option: str) -> None:
    options = parse(["--to", "sip:a", f"--{option}", "1", f"--{option}", "2"])
    assert getattr(options, option.replace("-", "_")) == "2"


def test_secret_on_the_command_line_is_not_shown(run: Runner) -> None:
    for arguments in (
        ["--secret", "s3cret"], ["--secret=s3cret"], ["s3cret"], ["--secre=s3cret", "s3cret"],
    ):  # fmt: skip
        result = run("--to", "sip:a", *arguments)
        assert_one_line(result, 64)
        assert "s3cret" not in result[1] + result[2]
    assert "--secret-file" in run("--to", "sip:a", "--secret", "s3cret")[2]
