"""The README: its examples run and are typed, and its tables agree with the code."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Type

import pytest

import amiclient
import amiproto
from amiclient import AMIError, LocalProtocolError, __version__
from amiclient.loopback import LoopbackServer
from amiproto.limits import MAX_BASE64_BODY, MAX_BODY
from amiproto.messaging import HEADERS
from tests.command.shell import environment
from tests.faults import client_of
from tests.readme import README, ROOT, block, blocks, run


def test_every_code_block_is_tested() -> None:
    counts = {language: len(blocks(language)) for language in ("python", "console", "ini")}
    assert counts == {"python": 4, "console": 1, "ini": 2}
    assert README.count(".. code-block::") == sum(counts.values())


def test_version_is_in_the_changes() -> None:
    assert f"\n- Changes: {__version__} " in README


def test_links_to_files_exist() -> None:
    targets = re.findall(r"<([\w/.]+)>`_", README)
    assert len(targets) >= 2
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("path", ["README.rst", "tests/README.rst"])
def test_renders_without_warnings(path: str) -> None:
    pytest.importorskip("docutils", reason="docutils is not installed")
    options = ["--halt=2", "--report=1", "--syntax-highlight=none"]
    done = subprocess.run(
        [sys.executable, "-m", "docutils", *options, str(ROOT / path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_first_command() -> None:
    command = re.search(r"^    python3 (-m amiclient --loopback .*)$", README, re.MULTILINE)
    assert command
    done = subprocess.run(
        f'"{sys.executable}" {command.group(1)}', shell=True, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert done.returncode == 0
    assert b"Body: 'Someone is at the door'" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_console_block(tmp_path: Path) -> None:
    (text,) = blocks("console")
    commands = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    output = re.findall(r"^(?!\$)(.+)$", text, re.MULTILINE)
    script = tmp_path / "bin" / "amisend"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m amiclient "$@"\n', "utf-8")
    script.chmod(0o755)
    with LoopbackServer(users={"messenger": "change me"}) as server:
        env = environment(server.port, PATH=f"{script.parent}:{os.environ['PATH']}")
        env["PYTHONPATH"] = str(ROOT)
        (tmp_path / "amisend.conf").write_text(block("ini", "[amisend]"))
        env["AMI_CONFIG"] = str(tmp_path / "amisend.conf")
        del env["AMI_USERNAME"], env["AMI_SECRET"]
        done = subprocess.run(
            ["sh", "-ec", "\n".join(commands)], cwd=tmp_path, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [message.to for message in server.messages] == ["pjsip:alice"] * 3
        assert {message.from_ for message in server.messages} == {"Door <sip:door@example.org>"}
    varying = re.compile(f"[0-9a-f]{{32}}|{server.port}|5038")
    assert [varying.sub("", line) for line in done.stdout.splitlines()] == [
        varying.sub("", line) for line in output
    ]


def test_manager_conf() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block("ini", "[messenger]"))
    assert parser.sections() == ["general", "messenger"]


def test_first_example(capsys: pytest.CaptureFixture[str]) -> None:
    script = block("python", "receipt = client.send_message(")
    with LoopbackServer(users={"messenger": "change me"}) as server:
        run(script.replace("5038", str(server.port)))
        (message,) = server.messages
    assert message.text == "Someone is at the door\n(the front one)"
    assert message.variables == (("X-Door", "front"),)
    assert "Message successfully sent" in capsys.readouterr().out


def test_many_messages(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["alice", "bob", "two\nlines"]
    with LoopbackServer(technologies=["pjsip"]) as server:
        with client_of(server.port) as client:
            run(block("python", "messages = ("), client=client, names=names)
        assert [message.to for message in server.messages] == ["pjsip:alice", "pjsip:bob"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pjsip:alice accepted None" and lines[3].startswith("lines not_sent ")


def test_failover_is_the_recipe() -> None:
    recipe = (ROOT / "tests/examples/failover.py").read_text(encoding="utf-8")
    # The README saves the blank lines.
    assert block("python", "class Failover").split("\n") == [*filter(None, recipe.split("\n")), ""]


def test_example_of_a_test() -> None:
    run(block("python", "def test_my_code("))["test_my_code"]()


#: Names that the examples use without defining them.
_GIVEN = """from typing import List
from amiclient import Client
names: List[str] = []
client = Client(username="messenger", secret="change me")
"""


@pytest.mark.parametrize(
    ("checker", "options"),
    [
        ("mypy", ["--strict", "--no-error-summary"]),
        ("pyright", ["--pythonpath", sys.executable]),
    ],
    ids=["mypy", "pyright"],
)
def test_examples_are_typed(checker: str, options: List[str], tmp_path: Path) -> None:
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    for package in ("amiproto", "amiclient"):
        (tmp_path / package).symlink_to(ROOT / package)
    # In one file, because a later example uses names of an earlier one.
    text = "\n\n".join([_GIVEN, *blocks("python")])
    (tmp_path / "examples.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", checker, *options, "examples.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stdout


# The tables

ERRORS: Dict[str, Type[AMIError]] = {
    name: getattr(module, name)
    for module in (amiproto, amiclient)
    for name in module.__all__
    if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), AMIError)
}


def rows(heading: str) -> List[List[str]]:
    """Return the cells of the first column to the last of each line of a table."""
    ruler, _, body = re.findall(
        rf"^(=[= ]*)\n({heading} .*)\n=[= ]*\n((?:.+\n)+?)=", README, re.MULTILINE
    )[0]
    columns = [slice(match.start(), match.end()) for match in re.finditer("=+", ruler)]
    return [[line[column].strip() for column in columns] for line in body.splitlines()]


def test_table_of_arguments_has_every_field() -> None:
    table = rows("Asterisk")
    names = {row[0].strip("`") for row in table if row[0]}
    headers = set(HEADERS.values())
    assert names == headers | {"ActionID", "Base64Body"}
    described = " ".join(row[1] for row in table)
    for name in HEADERS:
        assert f"``{name}``" in described
        assert f"``--{HEADERS[name].lower()}``" in described


def test_table_of_errors_has_outcome_and_retryable() -> None:
    for name, outcome, retry, meaning, advice in rows("Error"):
        error = ERRORS[name.strip("`")]
        assert (outcome, retry == "yes") == (error.outcome, error.retryable), name
        assert meaning and advice
    section = README[README.index("Errors and outcomes\n-") : README.index("Many messages\n-")]
    codec_only = {"ProtocolError", "RemoteProtocolError"}
    assert set(ERRORS) - codec_only <= set(re.findall(r"``(?:except )?(\w+)``", section))


def test_kinds_of_local_protocol_errors() -> None:
    listed = README[README.index("A ``LocalProtocolError`` is an") :].partition(".")[0]
    kinds = {name for name, error in ERRORS.items() if issubclass(error, LocalProtocolError)}
    assert set(re.findall(r"``(\w+)``", listed)) == kinds


def test_limits_of_the_body() -> None:
    numbers = re.findall(r"\b(\d{3,}) (?:bytes|with line breaks)", README)
    assert set(map(int, numbers)) == {MAX_BODY, MAX_BASE64_BODY}
