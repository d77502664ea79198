"""The command and the README's examples with real servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from tests.command.shell import command, environment
from tests.live.asterisk import AsteriskServer
from tests.live.delivery import require
from tests.live.phone import SipPhone
from tests.live.servers import Live
from tests.readme import README, ROOT, block, run

COUNT = 3_000


def env_of(server: AsteriskServer) -> Dict[str, str]:
    secret = server.users["messenger"]
    return environment(server.port, AMI_USERNAME="messenger", AMI_SECRET=secret, AMI_TIMEOUT="5")


def write_batch(path: Path, to: str) -> Path:
    rows = [{"to": to, "body": f"number {n}", "id": n} for n in range(COUNT)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def start(server: AsteriskServer, option: str, path: Path, out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen(
            command(option, str(path), "--quiet"), cwd=ROOT, env=env_of(server), stdout=file
        )


def results_of(out: Path) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


class Mailbox:
    """The messages that arrived at a phone, counted by text."""

    def __init__(self, phone: SipPhone) -> None:
        self._phone = phone
        self.texts: Counter[str] = Counter()

    def update(self) -> int:
        """Count new messages, and return the number of all messages so far."""
        self.texts.update(message.body.decode() for message in self._phone.drain())
        return sum(self.texts.values())

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 60.0
        while self.update() < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_readme_examples(live: Live, tmp_path: Path) -> None:
    require(live, "pjsip")
    settings = block("ini", "[messenger]").partition("[messenger]")[2]
    extra = {"manager.conf": f"\n[manual]{settings}"}
    phone = live.phone
    with live.another_server(extra) as server:
        script = block("python", "receipt = client.send_message(")
        run(script.replace("5038", str(server.port)).replace("messenger", "manual"))
        assert phone.next_message().body == b"Someone is at the door\n(the front one)"
        run_shell_section(server, tmp_path)
    bodies = [message.body for message in phone.drain()]
    assert bodies[::2] == [b"Someone is at the door", b"Happy new year"] and b"load" in bodies[1]
    # The second batch is that of the crontab.
    assert bodies[3:] == [b"Happy new year"]


def run_shell_section(server: AsteriskServer, folder: Path) -> None:
    """Run the commands of the shell section of the README, and those of its crontab."""
    (folder / "bin").mkdir()
    amisend = folder / "bin" / "amisend"
    amisend.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m amiclient "$@"\n')
    amisend.chmod(0o755)
    (folder / ".config").mkdir()
    settings = block("ini", "[amisend]").replace("messenger", f"manual\nport = {server.port}")
    (folder / ".config" / "amisend.conf").write_text(settings)
    (folder / ".config" / "amisend.conf").chmod(0o600)
    env = environment(PATH=f"{amisend.parent}:{os.environ['PATH']}", HOME=str(folder))
    env["PYTHONPATH"] = str(ROOT)
    for name in ("AMI_USERNAME", "AMI_SECRET", "AMI_CONFIG", "XDG_CONFIG_HOME"):
        env.pop(name, None)
    commands = re.findall(r"^\$ (.*)$", block("console", "amisend --check"), re.MULTILINE)
    jobs = re.findall(r"^    \S+ \S+ \* \* \*  +(.*)$", README, re.MULTILINE)
    assert len(commands) == 6 and len(jobs) == 2

    def run_line(line: str) -> Tuple[int, bytes]:
        done = subprocess.run(
            ["sh", "-c", line.replace("/srv/door", ".")], cwd=folder, env=env,
            stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
        )  # fmt: skip
        return done.returncode, done.stdout

    for line in [*commands, *jobs]:
        code, output = run_line(line)
        assert code == 0, output
        assert output == b"" or "--quiet" not in line, output
    # A retry that was killed, or is not finished, must not replace the results.
    results = (folder / "results.jsonl").read_bytes()
    (folder / "new.jsonl").write_bytes(b"")
    code, output = run_line(jobs[1])
    assert code != 0 and b"new.jsonl" in output
    assert (folder / "results.jsonl").read_bytes() == results != b""


def test_batch_with_a_server_killed_halfway_and_retries(live: Live, tmp_path: Path) -> None:
    mailbox = Mailbox(live.phone)
    server = live.another_server()
    server.start()
    try:
        path, out = write_batch(tmp_path / "0", live.to), tmp_path / "1"
        process = start(server, "--batch", path, out)
        mailbox.wait_for(COUNT // 3)
        server.kill()
        assert process.wait(60) in (74, 75)
        first = results_of(out)
        assert [line["id"] for line in first] == list(range(COUNT))
        unsent = [line["id"] for line in first if line["outcome"] == "not_sent"]
        assert unsent and all(line["retryable"] for line in first if line["id"] in set(unsent))
        # While the server is down, a retry sends nothing and keeps every message.
        code = start(server, "--retry", out, tmp_path / "2").wait(60)
        assert code in (74, 75)
        assert results_of(tmp_path / "2") == [
            {**old, "action_id": new["action_id"], "error": new["error"]}
            for old, new in zip(first, results_of(tmp_path / "2"))
        ]
        server.start()
        unknown = {line["id"] for line in first if line["outcome"] == "unknown"}
        code = start(server, "--retry", tmp_path / "2", tmp_path / "3").wait(60)
        assert code == (74 if unknown else 0)
        last = results_of(tmp_path / "3")
        assert [line["id"] for line in last] == list(range(COUNT))
        assert {line["id"] for line in last if line["outcome"] != "accepted"} == unknown
    finally:
        server.stop()
    time.sleep(0.2)
    mailbox.update()
    assert max(mailbox.texts.values()) == 1
    sent = {line["id"] for line in first if line["outcome"] == "accepted"} | set(unsent)
    assert len(unknown) <= 32 and len(sent) + len(unknown) == COUNT
    arrived = {int(text.split()[1]) for text in mailbox.texts}
    # A killed server loses messages that it has accepted and not sent yet.
    assert len(sent - arrived) <= 32 and arrived <= sent | unknown


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_batch_with_a_signal_halfway(live: Live, tmp_path: Path, signum: signal.Signals) -> None:
    mailbox = Mailbox(live.phone)
    path, out = write_batch(tmp_path / "0", live.to), tmp_path / "1"
    process = start(live.server, "--batch", path, out)
    mailbox.wait_for(COUNT // 3)
    for _ in range(2):
        process.send_signal(signum)
    assert process.wait(60) == 128 + signum
    first = results_of(out)
    assert [line["id"] for line in first] == list(range(COUNT))
    assert {line["outcome"] for line in first} == {"accepted", "not_sent"}
    assert start(live.server, "--retry", out, tmp_path / "2").wait(60) == 0
    mailbox.wait_for(COUNT)
    time.sleep(0.2)
    assert mailbox.update() == COUNT == len(mailbox.texts)


def test_check(live: Live, tmp_path: Path) -> None:
    for user, code in (("messenger", 0), ("admin", 0), ("reader", 77)):
        env = {**env_of(live.server), "AMI_USERNAME": user, "AMI_SECRET": live.server.users[user]}
        assert subprocess.run(command("--check"), cwd=ROOT, env=env).returncode == code
    assert live.phone.drain() == []
