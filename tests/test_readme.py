"""The README's examples run as they stand there, and its table has the errors there are."""

from __future__ import annotations

import ast
import asyncio
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Set, Tuple, Type

import pytest

import amiclient
import amiproto
from amiclient import AMIError, Event, MessageSend, NotSent, Response, __version__
from amiclient.command.options import EXIT_CODES
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from tests.command.shell import environment
from tests.faults import client_of
from tests.readme import README, ROOT, block, blocks, run
from tests.refusals import REFUSALS

#: A part of each Python example, and the names that it takes for given.
EXAMPLES = {
    "receipt = client.send_message(": "",
    "wishes = (": "client: Client\nnames: List[str]\n",
    "CoreShowChannels": "client: Client\n",
    "def send_by_any(": "",
    "from celery import": "",
    "def incoming(": "",
    "def test_my_code(": "",
    "import asyncio": "",
    "def relay(": "",
}


def test_every_example_is_known_here() -> None:
    assert len(blocks("python")) == len(EXAMPLES)
    for part in EXAMPLES:
        block("python", part)
    assert README.count(".. code-block::") == sum(
        len(blocks(language)) for language in ("python", "console", "ini")
    )


def test_it_is_short_enough_to_be_read() -> None:
    users, maintainers = README.split("\nFor maintainers\n")
    assert len(users.splitlines()) <= 330
    assert len(maintainers.splitlines()) <= 110


def test_its_map_has_every_module_once() -> None:
    listed = re.findall(r"^    (ami\w+/\S+\.py) +\S", README, re.MULTILINE)
    there = [path for name in ("amiproto", "amiclient") for path in (ROOT / name).rglob("*.py")]
    modules = {path.relative_to(ROOT).as_posix() for path in there if path.name != "__init__.py"}
    assert sorted(listed) == sorted(modules)


def test_its_changes_tell_of_this_version() -> None:
    assert re.search(rf"^{re.escape(__version__)}\b", README, re.MULTILINE)


def test_it_renders_without_a_warning() -> None:
    pytest.importorskip("docutils", reason="docutils is not installed")
    options = ["--halt=2", "--report=1", "--syntax-highlight=none"]
    done = subprocess.run(
        [sys.executable, "-m", "docutils", *options, str(ROOT / "README.rst")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"What became of it" in done.stdout


def test_first_command_sends_and_shows() -> None:
    command = re.search(r"^    python3 (-m amiclient --loopback .*)$", README, re.MULTILINE)
    assert command
    result = subprocess.run(
        f'"{sys.executable}" {command.group(1)}',
        shell=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert b"Body: 'Someone is at the door'" in result.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("text", blocks("console"))
def test_console_blocks(text: str, tmp_path: Path) -> None:
    commands = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    assert commands
    script = tmp_path / "bin" / "amisend"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec "{sys.executable}" -m amiclient "$@"\n')
    script.chmod(0o755)
    with LoopbackServer(users={"messenger": "change me"}) as server:
        env = environment(server.port, PATH=f"{script.parent}:{os.environ['PATH']}")
        env.update(AMI_USERNAME="messenger", AMI_SECRET="change me")
        if "AMI_SECRET" in text:
            del env["AMI_USERNAME"], env["AMI_SECRET"]
        done = subprocess.run(
            ["sh", "-ec", "\n".join(commands)], cwd=tmp_path, env=env, stderr=subprocess.PIPE
        )
        assert done.returncode == 0, done.stderr
        sent = [(message.to, message.text) for message in server.messages]
    assert sent in (
        [("pjsip:alice", "Someone is at the door"), ("pjsip:bob", "Someone is at the door")],
        [("pjsip:alice", "Happy new year")],
    )


def test_ini_blocks_can_be_read() -> None:
    sections = []
    for text in blocks("ini"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(text)
        sections += parser.sections()
    assert sections == ["general", "messenger", "messages"]


def test_ten_line_script(capsys: Any) -> None:
    script = block("python", "receipt = client.send_message(")
    assert len([line for line in script.splitlines() if line]) <= 10
    with LoopbackServer(users={"messenger": "change me"}) as server:
        run(script.replace("5038", str(server.port)))
        (message,) = server.messages
    assert message.text == "Someone is at the door\n(the front one)"
    assert message.variables == (("X-Door", "front"),)
    assert "Message successfully sent" in capsys.readouterr().out


def test_bulk(capsys: Any) -> None:
    names = ["alice", "bob", "two\nlines"]
    with LoopbackServer(technologies=["pjsip"]) as server:
        with client_of(server.port) as client:
            run(block("python", "wishes = ("), client=client, names=names)
        assert [message.to for message in server.messages] == ["pjsip:alice", "pjsip:bob"]
    assert "not sent To holds a control character" in capsys.readouterr().out


def test_other_actions_and_events(capsys: Any) -> None:
    def channels(action: amiproto.Action) -> Iterator[amiproto.Message]:
        action_id = action.action_id
        yield Response("Success", [("EventList", "start")], action_id=action_id)
        yield Event("CoreShowChannel", [("Channel", "PJSIP/alice-1")], action_id=action_id)
        end = [("EventList", "Complete"), ("ListItems", "1")]
        yield Event("CoreShowChannelsComplete", end, action_id=action_id)

    text = block("python", "CoreShowChannels").replace("timeout=60", "timeout=0.1")
    with LoopbackServer(handlers={"CoreShowChannels": channels}) as server:
        with client_of(server.port, events="on") as client:
            server.send_event(Event("Newchannel", [("Channel", "PJSIP/bob-1")]))
            run(text, client=client)
    assert capsys.readouterr().out == "['PJSIP/alice-1']\nNewchannel PJSIP/bob-1\n"


def test_many_servers() -> None:
    send_by_any = run(block("python", "def send_by_any("))["send_by_any"]
    message = MessageSend("pjsip:a", "b")
    with LoopbackServer() as down:
        port = down.port
    with LoopbackServer() as server:
        clients = [client_of(port), client_of(server.port)]
        assert send_by_any(message, *clients).outcome == "accepted"
        assert len(server.messages) == 1
        with pytest.raises(amiclient.ActionFailed):
            send_by_any(MessageSend("fax:a", "b"), *clients)
        clients[1].close()
    for given in ([], clients):
        with pytest.raises(NotSent):
            send_by_any(message, *given)


def test_a_celery_task(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("celery", reason="Celery is not installed")
    names = run(block("python", "def send_by_any("))
    with LoopbackServer() as server:
        monkeypatch.setenv("AMI_URLS", server.url)
        text = block("python", "from celery import")
        text = text.replace('backend="redis://"', 'backend="cache+memory://"')
        task = run(text, **names)["send"]
        for to, outcome in (("pjsip:a", "accepted"), ("fax:a", "failed"), ("", "not_sent")):
            assert task.apply(kwargs={"to": to, "body": "x"}).get()["outcome"] == outcome
    assert [message.to for message in server.messages] == ["pjsip:a"]


def test_receiving() -> None:
    text = 'Grüße, "quoted"\r\n\r\nResponse: Success'
    coded = [(name, amiproto_base64(value)) for name, value in (
        ("From64", "<sip:a@b>"), ("To64", "sip:c"), ("Body64", text))]  # fmt: skip
    incoming = run(block("python", "def incoming("))["incoming"]
    with LoopbackServer() as server, client_of(server.port, events="on") as client:
        server.send_event(Event("UserEvent", [("UserEvent", "Other")]))
        server.send_event(Event("UserEvent", [("UserEvent", "MessageIn"), *coded]))
        assert next(incoming(client)) == ("<sip:a@b>", "sip:c", text)


def amiproto_base64(text: str) -> str:
    from base64 import b64encode

    return b64encode(text.encode()).decode()


def test_users_own_tests(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(block("python", "def test_my_code("))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert done.returncode == 0 and b"1 passed" in done.stdout, done.stdout


def test_codec_alone_with_asyncio() -> None:
    send = run(block("python", "import asyncio"))["send"]
    with LoopbackServer() as server:
        message = MessageSend("pjsip:alice", "a\nb")
        answer = asyncio.run(send(server.host, server.port, USERNAME, SECRET, message))
        assert answer.response.name == "Success"
        assert [message.text for message in server.messages] == ["a\nb"]


@pytest.mark.parametrize("part", EXAMPLES)
def test_types_of_the_examples(part: str, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    text = block("python", part)
    options = ["--strict"]
    if "celery" in part:  # which has no types
        options = ["--ignore-missing-imports", "--check-untyped-defs"]
        text = block("python", "def send_by_any(") + text
    path = tmp_path / "example.py"
    given = f"from typing import List\nfrom amiclient import Client\n{EXAMPLES[part]}"
    path.write_text(given + text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", os.devnull, "--cache-dir",
         str(ROOT / ".mypy_cache" / "readme"), *options, str(path)],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()


def test_exit_codes_are_those_of_the_help() -> None:
    listed = set(re.findall(r"^ +(\d+)  ", EXIT_CODES, re.MULTILINE)) | {"143"}
    section = README[README.index("Exit codes are") :].partition("\n\n")[0]
    assert set(re.findall(r"\b\d+\b", section)) == listed


# -- The errors.

KINDS: Dict[str, Type[AMIError]] = {
    name: getattr(module, name)
    for module in (amiproto, amiclient)
    for name in module.__all__
    if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), AMIError)
}


def rows() -> Iterator[Tuple[str, str, str, str, str]]:
    """The cells of each row of the table: as the ruler above it cuts its lines."""
    (table,) = re.findall(r"^===.*\n.*\n===.*\n((?:.+\n)+?)===", README, re.MULTILINE)
    (ruler,) = set(re.findall(r"^(===.*)$", README, re.MULTILINE)) - {"=" * 9}
    cuts = [(match.start(), match.end()) for match in re.finditer("=+", ruler)]
    for line in table.splitlines():
        name, outcome, select_for_retry, why, what = (
            line[start:end].strip() for start, end in cuts
        )
        yield name.strip("`"), outcome, select_for_retry, why, what


def test_every_error_is_in_the_manual() -> None:
    told = README[README.index("What became of it\n") : README.index("Technologies\n-")]
    assert set(re.findall(r"``(\w+)``", told)) >= set(KINDS) - {"AMIError"}
    for name, outcome, select_for_retry, why, what in rows():
        kind = KINDS[name]
        assert (outcome, select_for_retry == "yes") == (kind.outcome, kind.retryable), name
        assert why and what
    assert len(list(rows())) < 16


def test_the_manual_and_the_table_of_refusals_agree() -> None:
    listed = README[README.index("A ``LocalProtocolError`` is one of") :].partition(".")[0]
    kinds = {row.error.__name__ for row in REFUSALS}
    assert set(re.findall(r"``(\w+)``", listed)) == kinds | {"LocalProtocolError"}
    least, most = sorted({row.limit or 0 for row in REFUSALS if row.error is amiproto.BodyTooLong})
    told = re.findall(r"(\d+)\s+bytes, or\s+(\d+)\s+with", README)
    assert told == [(str(most), str(least))] * 2
    technologies = {name for row in REFUSALS for name in row.technologies} - {"other"}
    section = README[README.index("\nTechnologies\n") : README.index("\nThreads and listeners\n")]
    assert set(re.findall(r"^- ``(\w+):", section, re.MULTILINE)) == technologies


def sentences() -> Set[str]:
    """What every error of the two packages says, with an ellipsis for what varies."""
    found = set()
    for package in ("amiproto", "amiclient"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id in KINDS and node.args:
                        text = text_of(node.args[0])
                        # Without a letter of its own it passes on what another error says.
                        if any(character.isalpha() for character in text):
                            found.add(text)
    return found


#: Words that advice starts with, at the start of a sentence or of a part of it.
ADVICE = set(
    "add answer ask call cut check close connect find fix give leave log make mend name open put "
    "raise read remove rename send shorten spell take try use wait write".split()
)


#: Those whose advice comes in with what varies; the tests of the technologies look at it there.
ADVICE_COMES_IN = {
    "... is empty; ...",
    "chan_sip would change or drop the From ...: ...",
    "chan_sip would not send to ... as it is written: ...",
    "pjsip would change or drop the From ...: ...",
    "pjsip would not send to ... as it is written: ...",
    "where there is a Destination, pjsip would not put ... into the To header as it is written: "
    "...",
}


def advice_of(sentence: str) -> str:
    """The first word of what a sentence says to do; empty where it says nothing of it."""
    parts = re.split(r"[;:,?] (?:or |and |then )?", sentence)
    return next((part.split()[0] for part in parts if part.split()[0] in ADVICE), "")


def test_every_sentence_ends_in_advice() -> None:
    said = sentences()
    assert len(said) > 80 and ADVICE_COMES_IN <= said
    assert [each for each in sorted(said - ADVICE_COMES_IN) if not advice_of(each)] == []


def text_of(node: ast.expr) -> str:
    """A string in the source, with an ellipsis for each value in it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
        )
    return "..."
