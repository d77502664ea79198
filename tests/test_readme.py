"""The README's examples run, and its table of errors is the errors there are."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set

import amiclient
import amiproto
from amiclient import Client
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiproto import Answer, Event, Response

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")


def example(start: str) -> str:
    """The one Python example of the README that has such a line."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)
    found = [textwrap.dedent(block) for block in blocks if start in block]
    assert len(found) == 1, start
    return found[0]


def run(text: str, **names: Any) -> Dict[str, Any]:
    """Run an example with some names given."""
    exec(compile(text, "README.rst", "exec"), names)
    return names


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


def test_ten_line_script(capsys: Any) -> None:
    script = example("receipt = client.send_message(")
    assert len([line for line in script.splitlines() if line]) <= 10
    with LoopbackServer(users={"messenger": "change me"}) as server:
        run(script.replace("5038", str(server.port)))
        (message,) = server.messages
    assert message.text == "Someone is at the door\n(the front one)"
    assert message.variables == (("X-Door", "front"),)
    assert "Message successfully sent" in capsys.readouterr().out


def test_script_that_runs_for_months(capsys: Any) -> None:
    waits: List[float] = []
    deliver = run(example("def deliver("), pause=waits.append)["deliver"]
    message = {"to": "pjsip:alice", "body": "hello"}
    with LoopbackServer() as server:
        client = Client(server.host, server.port, username=USERNAME, secret=SECRET)
        assert deliver(client, message) is True
        server.close()
        assert deliver(client, message, tries=2) is False
        assert waits == [1, 2]
        server.open()
        client.port = server.port
        assert deliver(client, message) is True
        assert deliver(client, {"to": "nothing:alice"}) is False
        assert deliver(client, {"to": ""}) is False
        client.close()
        assert len(server.messages) == 2
    capsys.readouterr()


def test_bulk(capsys: Any) -> None:
    names = ["alice", "bob", "two\nlines"]
    with LoopbackServer(technologies=["pjsip"]) as server:
        with Client(server.host, server.port, username=USERNAME, secret=SECRET) as client:
            run(example("wishes = ("), client=client, names=names)
        assert [message.to for message in server.messages] == ["pjsip:alice", "pjsip:bob"]
    assert "lines not sent To holds a control character" in capsys.readouterr().out


def test_other_actions(capsys: Any) -> None:
    def channels(action: amiproto.Action) -> Iterator[amiproto.Message]:
        action_id = action.action_id
        yield Response("Success", [("EventList", "start")], action_id=action_id)
        yield Event("CoreShowChannel", [("Channel", "PJSIP/alice-1")], action_id=action_id)
        end = [("EventList", "Complete"), ("ListItems", "1")]
        yield Event("CoreShowChannelsComplete", end, action_id=action_id)

    def command(action: amiproto.Action) -> Iterator[amiproto.Message]:
        yield Response("Success", output=["Asterisk 22"], action_id=action.action_id)

    handlers = {"CoreShowChannels": channels, "Command": command}
    with LoopbackServer(handlers=handlers) as server:
        with Client(server.host, server.port, username=USERNAME, secret=SECRET) as client:
            run(example("client.ping()"), client=client)
    assert capsys.readouterr().out == "('Asterisk 22',)\n['PJSIP/alice-1']\n"


def test_users_own_tests() -> None:
    run(example("exactly"))


def test_codec_alone_with_asyncio() -> None:
    text = example("import asyncio, os")
    body = text[text.index("async def") :]
    assert len([line for line in body.splitlines() if line]) <= 15
    send = run(text)["send"]
    with LoopbackServer() as server:
        event = asyncio.run(
            send(server.host, server.port, USERNAME, SECRET, to="pjsip:alice", body="a\nb")
        )
        assert isinstance(event, Answer) and event.response.name == "Success"
        assert [message.text for message in server.messages] == ["a\nb"]


def sentences() -> Set[str]:
    """What every error of the two packages says, with an ellipsis for what varies."""
    kinds = {
        name
        for module in (amiproto, amiclient)
        for name in module.__all__
        if isinstance(getattr(module, name), type)
        and issubclass(getattr(module, name), amiproto.AMIError)
    }
    found = set()
    for package in ("amiproto", "amiclient"):
        for path in (ROOT / package).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id in kinds and node.args:
                        text = text_of(node.args[0])
                        # Without a letter of its own it passes on what another error says.
                        if any(character.isalpha() for character in text):
                            found.add(f"{node.func.id}: {text}")
    return found


def table_of_errors() -> List[List[str]]:
    """The cells of each row of the README's last table, the header's first; literals unquoted."""
    _, section = README.split("\nErrors\n------\n")
    (table,) = re.findall(r"^\.\. list-table::\n((?:   .*\n|\n)+)\Z", section, re.MULTILINE)
    rows = re.split(r"^   \* - ", table, flags=re.MULTILINE)[1:]
    return [
        [
            re.sub(r"\A``(.*)``\Z", r"\1", " ".join(cell.split()))
            for cell in re.split(r"^     - ", row, flags=re.MULTILINE)
        ]
        for row in rows
    ]


def test_every_error_is_in_the_table() -> None:
    header, *rows = table_of_errors()
    assert header == ["Error", "What it says", "Why", "What to do"]
    said = [f"{kind}: {sentence}" for kind, sentence, _, _ in rows]
    assert len(said) == len(set(said))
    assert set(said) == {" ".join(sentence.split()) for sentence in sentences()}
    assert all(why and what_to_do for _, _, why, what_to_do in rows)


def text_of(node: ast.expr) -> str:
    """A string in the source, with an ellipsis for each value in it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
        )
    return "..."
