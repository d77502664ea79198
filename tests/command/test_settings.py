"""Where the command finds its server and its secret, and what it says of wrong settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any, Iterator, Optional, Tuple

import pytest

from amiclient.command import config as settings
from amiclient.loopback import LoopbackServer
from tests.certificates import SERVER_PEM, server_tls
from tests.command.shell import MESSAGE, Runner, one_line
from tests.script import Script, read_until_eof

USER = ["--username", "me"]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(users={"me": "t0p s3cret ", "max": "MAX"}) as loopback:
        yield loopback


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def test_a_secret_from_a_file(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    options = [*MESSAGE, "--port", str(server.port), "--secret-file"]
    for user, text in (
        ("me", "t0p s3cret "), ("me", "t0p s3cret \n"), ("me", "t0p s3cret \r\n"), ("max", "MAX\n"),
    ):  # fmt: skip
        code, out, err = run(*options, written(tmp_path / "secret", text), "--username", user)
        assert (code, err) == (0, "")
    options = [*USER, *options]
    code, out, err = run(*options, written(tmp_path / "secret", "t0p s3cret"))
    one_line(code, 77, err)
    assert "t0p" not in err
    code, out, err = run(*options, str(tmp_path / "missing"))
    one_line(code, 66, err, "--secret-file: ", "missing")
    code, out, err = run(*options, str(tmp_path))
    one_line(code, 66, err)
    code, out, err = run(*options, written(tmp_path / "secret", "\n"))
    one_line(code, 64, err, "there is nothing in")


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_may_read_is_pointed_out(
    run: Runner, server: LoopbackServer, tmp_path: Path, mode: int
) -> None:
    options = [*MESSAGE, "--port", str(server.port)]
    secret = written(tmp_path / "secret", "t0p s3cret ", mode)
    code, out, err = run(*options, *USER, "--secret-file", secret)
    one_line(code, 0, err, f"chmod 600 {secret}")
    file = written(tmp_path / "conf", "[amisend]\nusername=me\nsecret=x", mode)
    code, out, err = run(*options, "--secret-file", secret, "--config", file)
    assert code == 0 and f"chmod 600 {file}" in err
    url = "ami://me:x@localhost"
    written(tmp_path / "conf", f"[amisend]\nurl={url}", mode)
    code, out, err = run(*options, "--secret-file", secret, "--config", file)
    assert code == 0 and f"chmod 600 {file}" in err
    written(tmp_path / "conf", "[amisend]\nusername=me", mode)
    written(tmp_path / "secret", "t0p s3cret ")
    assert run(*options, "--secret-file", secret, "--config", file)[::2] == (0, "")


def test_options_then_environment_then_file(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    secret = written(tmp_path / "secret", "t0p s3cret ")
    text = f"[amisend]\nusername = me\nport = {server.port}\nsecret-file = {secret}\ntls = no\n"
    written(tmp_path / "amisend.conf", text + "timeout = 5\n")
    there = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert run(*MESSAGE, **there)[::2] == (0, "")
    code, out, err = run(*MESSAGE, AMI_USERNAME="eve", **there)
    one_line(code, 77, err, "eve")
    code, out, err = run(*MESSAGE, "--username", "ann", AMI_USERNAME="eve", **there)
    one_line(code, 77, err, "ann")
    # What is not needed is not looked at.
    for name, value in (("AMI_PORT", "x"), ("AMI_TIMEOUT", "x"), ("AMI_CAFILE", "/no/such")):
        options = {"AMI_PORT": ["--port", str(server.port)], "AMI_TIMEOUT": ["--timeout", "9"]}
        code, out, err = run(*MESSAGE, *options.get(name, []), **{name: value}, **there)
        assert code == (66 if name == "AMI_CAFILE" else 0), err


def test_the_file_of_who_has_no_configuration_folder(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    (tmp_path / ".config").mkdir()
    text = f"[amisend]\nurl = ami://me:t0p%20s3cret%20@127.0.0.1:{server.port}\n"
    written(tmp_path / ".config" / "amisend.conf", text)
    assert run(*MESSAGE, XDG_CONFIG_HOME="", HOME=str(tmp_path))[::2] == (0, "")


def test_1_is_a_port(run: Runner) -> None:
    code, out, err = run.logged_in(1, *MESSAGE)
    one_line(code, 75, err, "127.0.0.1 port 1")


def test_less_than_a_second_is_a_time(run: Runner) -> None:
    with Script(read_until_eof) as script:
        code, out, err = run.logged_in(script.port, *MESSAGE, "--timeout", "0.05")
    one_line(code, 75, err, "in time")


def test_an_address_in_one_word(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    url = f"ami://me:t0p%20s3cret%20@localhost:{server.port}?timeout=5"
    assert run(*MESSAGE, AMI_URL=url)[0] == 0
    file = written(tmp_path / "conf", f"[amisend]\nurl = {url}\n")
    assert run(*MESSAGE, "--config", file)[::2] == (0, "")
    elsewhere = url.replace("localhost", "no.such.invalid").replace(":t0p", ":wrong")
    more = {"AMI_HOST": "127.0.0.1", "AMI_SECRET": "t0p s3cret ", "AMI_PORT": "", "AMI_TIMEOUT": ""}
    assert run(*MESSAGE, AMI_URL=elsewhere, **more)[0] == 0
    code, out, err = run(*MESSAGE, AMI_URL=url, AMI_USERNAME="eve")
    one_line(code, 77, err, "eve")
    with LoopbackServer(users={"me": "x"}, tls=server_tls()) as other:
        at = f"me:x@localhost:{other.port}"
        assert run(*MESSAGE, AMI_URL=f"amis://{at}?cafile={SERVER_PEM}")[0] == 0
        code, out, err = run(*MESSAGE, AMI_URL=f"amis://{at}")
        one_line(code, 76, err, "not trusted")
        assert run(*MESSAGE, AMI_URL=f"amis://{at}", AMI_CAFILE=SERVER_PEM)[0] == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://me:t0p@host", "ami://", "ami://me:t0p@host:port", "ami://me:t0p@host:70000",
        "ami://me:t0p@host/folder", "ami://me:t0p@host?nonsense", "ami://me:t0p@host?x=t0p",
        "ami://me:t0p@host?cafile=x", "ami://me:t0p@host?timeout=-1", "ami://me:t0p@[host",
        "ami://me:t0p@host:0", "ami://host", "ami://me@t0p",
    ],
)  # fmt: skip
def test_an_address_that_is_none_does_not_show_its_secret(run: Runner, url: str) -> None:
    code, out, err = run(*MESSAGE, AMI_URL=url)
    one_line(code, 78, err)
    assert "t0p@" not in err and ":t0p" not in err


@pytest.mark.parametrize(
    "text, words",
    [
        ("[amisend]\nport = x\n", ": port: 'x' is no port"),
        ("[amisend]\ntls = perhaps\n", ": tls: 'perhaps' is neither yes nor no"),
        ("[amisend]\nsecrets = t0p\n", ": no setting 'secrets'; there are host, port, username"),
        ("[other]\nsecret = t0p\n", "give one section, [amisend]"),
        ("[amisend]\n[other]\n", "give one section, [amisend]"),
        ("", "give one section, [amisend]"),
        ("secret = t0p\n", "no file of settings: line 1"),
        ("[amisend]\nt0p\n", "no file of settings: line"),
        ("[amisend]\nport=1\nport=2", "no file of settings: line 3"),
    ],
)
def test_a_file_that_is_wrong(run: Runner, tmp_path: Path, text: str, words: str) -> None:
    file = written(tmp_path / "conf", text)
    code, out, err = run(*MESSAGE, "--config", file)
    one_line(code, 78, err, file, words)
    assert "t0p" not in err


def test_a_file_that_cannot_be_read(run: Runner, tmp_path: Path) -> None:
    code, out, err = run(*MESSAGE, "--config", str(tmp_path / "missing"))
    one_line(code, 66, err, "--config", "missing")
    (tmp_path / "conf").write_bytes(b"[amisend]\nsecret = \xff\n")
    code, out, err = run(*MESSAGE, "--config", str(tmp_path / "conf"))
    one_line(code, 78, err, ": line that is not UTF-8\n")


def test_a_file_is_utf_8_whatever_the_system_writes(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_that_system(path: str, mode: str = "r", encoding: Optional[str] = None) -> IO[Any]:
        return open(path, mode, encoding=encoding or (None if "b" in mode else "latin-1"))

    monkeypatch.setattr(settings, "open", of_that_system, raising=False)
    file = written(tmp_path / "conf", "[amisend]\nusername = zoë\nsecret = ñandú\n")
    with LoopbackServer(users={"zoë": "ñandú"}) as server:
        code, out, err = run(*MESSAGE, "--port", str(server.port), "--config", file)
    assert (code, err) == (0, "")


def test_no_user_and_no_secret(run: Runner) -> None:
    for arguments, words in (
        ([], "no user: give --username, or set AMI_USERNAME"),
        (USER, "no secret: give --secret-file, or set AMI_SECRET"),
    ):
        assert run(*MESSAGE, *arguments) == (78, "", f"amisend: {words}\n")
    code, out, err = run(*MESSAGE, *USER, AMI_SECRET="a\nb")
    one_line(code, 78, err, "the settings: ", "'Secret'")


def test_a_secret_that_is_not_utf_8(run: Runner) -> None:
    with LoopbackServer(users={"me": "caf\udce9"}) as server:
        options = [*MESSAGE, *USER, "--port", str(server.port)]
        assert run(*options, AMI_SECRET="caf\udce9")[0] == 0


def test_a_terminal_is_asked(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*MESSAGE, *USER, "--port", str(server.port)]
    asked = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return answers.pop()

    answers = ["", "t0p s3cret "]
    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(settings, "_has_terminal", lambda: True)
    assert run(*options)[0] == 78 and not asked  # standard error is no terminal
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True, raising=False)
    assert run(*options)[0] == 0
    assert asked == ["Secret of me: "]
    assert run(*options)[0] == 78
    assert len(asked) == 2


def test_whether_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(path: str, flags: int) -> int:
        raise OSError(path)

    opened: Tuple[int, int] = os.pipe()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda path, flags: {"/dev/tty": opened[0]}[path])
        assert settings._has_terminal()
        patch.setattr(os, "open", no_terminal)
        assert not settings._has_terminal()
    os.close(opened[1])
