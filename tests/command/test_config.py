"""The settings of the command: options, environment, settings file, and the secret."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any, Iterator, List, Optional

import pytest

from amiclient.command import config
from amiclient.loopback import LoopbackServer
from tests.certificates import OTHER_PEM, SERVER_PEM, server_tls
from tests.command.shell import LOGIN, MESSAGE, Runner, assert_one_line
from tests.script import Script, read_until_eof

USER = ["--username", "me"]
SECRET = "t0p s3cret "


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(users={"me": SECRET, "max": "MAX"}) as loopback:
        yield loopback


def write_file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


# -- Single settings.


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--port", "x"), ("--port", "65536"), ("--host", ""), ("--timeout", "soon"),
        ("--timeout", "-1"), ("--timeout", "nan"), ("--timeout", "0"), ("--timeout", "1e9"),
    ],
)  # fmt: skip
def test_invalid_option(run: Runner, option: str, value: str) -> None:
    result = run(*MESSAGE, option, value)
    assert_one_line(result, 64, f"{option}: " if value else option, repr(value) if value else "")
    assert result[1] == ""


@pytest.mark.parametrize("number", ["x", "5038 "])
def test_invalid_variable(run: Runner, number: str) -> None:
    assert_one_line(run(*MESSAGE, AMI_PORT=number), 78, "AMI_PORT", repr(number))


def test_lowest_port(run: Runner) -> None:
    assert_one_line(run.logged_in(1, *MESSAGE), 75, "AMI_PORT: ", "127.0.0.1 port 1")


def test_host(run: Runner) -> None:
    with LoopbackServer(host="::1") as server:
        for host in ("::1", "[::1]"):
            assert run.logged_in(server.port, *MESSAGE, "--host", host)[0] == 0
    for wrong in ("ami://me:s3cret@pbx", "me:s3cret@pbx"):
        for result in (run(*MESSAGE, "--host", wrong), run(*MESSAGE, AMI_HOST=wrong)):
            assert_one_line(result, 78 if "AMI_HOST" in result[2] else 64, "AMI_URL")
            assert "s3cret" not in result[2]


def test_fractional_timeout(run: Runner) -> None:
    with Script(read_until_eof) as script:
        assert_one_line(run.logged_in(script.port, *MESSAGE, "--timeout", "0.05"), 75)


def test_tls(run: Runner) -> None:
    with LoopbackServer(tls=server_tls()) as server:
        options = [*MESSAGE, "--port", str(server.port), "--host", "localhost"]
        assert run(*options, "--cafile", SERVER_PEM, **LOGIN)[0] == 0
        for wrong, hint in (["--tls"], True), (["--cafile", OTHER_PEM], False):
            result = run(*options, *wrong, **LOGIN)
            assert_one_line(result, 76, f"{wrong[0]}: ")
            assert ("; --cafile" in result[2]) == hint
        # A certificate for another name.
        named = [*options, "--cafile", SERVER_PEM, "--tls-hostname"]
        assert_one_line(run(*named, "pbx", **LOGIN), 76, "--tls-hostname: ", "; --tls-hostname")
        address = [*MESSAGE, "--port", str(server.port), "--host", "127.1"]
        result = run(*address, "--cafile", SERVER_PEM, **LOGIN)
        assert_one_line(result, 76, "; --tls-hostname")
        assert "--cafile" not in result[2]
        env = {**LOGIN, "AMI_TLS_HOSTNAME": "localhost"}
        assert run(*address, "--cafile", SERVER_PEM, **env)[0] == 0
        assert_one_line(run(*address, **env), 78, "AMI_TLS_HOSTNAME")
        # An empty or missing file must not mean a connection without TLS.
        for missing in ("", "no such file"):
            result = run(*options, "--cafile", missing, **LOGIN)
            assert_one_line(result, 66 if missing else 64, "--cafile")
        assert len(server.messages) == 2


# -- Their sources.


def test_precedence_of_settings(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    secret = write_file(tmp_path / "secret", SECRET)
    text = f"[amisend]\nusername = me\nport = {server.port}\nsecret-file = {secret}\ntls = no\n"
    write_file(tmp_path / "amisend.conf", text + "timeout = 5\n")
    folder = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert run(*MESSAGE, AMI_PORT="", **folder)[::2] == (0, "")  # an empty variable counts as unset
    assert_one_line(run(*MESSAGE, AMI_USERNAME="eve", **folder), 77, "eve")
    assert_one_line(run(*MESSAGE, "--username", "ann", AMI_USERNAME="eve", **folder), 77, "ann")
    # Values that are overridden are not checked.
    port = ["--port", str(server.port)]
    assert run(*MESSAGE, *port, AMI_PORT="x", **folder)[0] == 0
    assert run(*MESSAGE, "--timeout", "9", AMI_TIMEOUT="x", **folder)[0] == 0
    assert_one_line(run(*MESSAGE, AMI_CAFILE="/no/such", **folder), 66, "AMI_CAFILE")


def test_default_file_without_xdg_config_home(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    (tmp_path / ".config").mkdir()
    text = f"[amisend]\nurl = ami://me:t0p%20s3cret%20@127.0.0.1:{server.port}\n"
    write_file(tmp_path / ".config" / "amisend.conf", text)
    assert run(*MESSAGE, XDG_CONFIG_HOME="", HOME=str(tmp_path))[::2] == (0, "")


def test_url(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    url = f"ami://me:t0p%20s3cret%20@localhost:{server.port}?timeout=5"
    assert run(*MESSAGE, AMI_URL=url)[0] == 0
    file = write_file(tmp_path / "conf", f"[amisend]\nurl = {url}\n")
    assert run(*MESSAGE, "--config", file)[::2] == (0, "")
    wrong = url.replace("localhost", "no.such.invalid").replace(":t0p", ":wrong")
    more = {"AMI_HOST": "127.0.0.1", "AMI_SECRET": SECRET, "AMI_PORT": "", "AMI_TIMEOUT": ""}
    assert run(*MESSAGE, AMI_URL=wrong, **more)[0] == 0
    assert_one_line(run(*MESSAGE, AMI_URL=url, AMI_USERNAME="eve"), 77, "eve")
    with LoopbackServer(users={"me": "x"}, tls=server_tls()) as other:
        url = f"amis://me:x@localhost:{other.port}"
        assert run(*MESSAGE, AMI_URL=f"{url}?cafile={SERVER_PEM}")[0] == 0
        assert_one_line(run(*MESSAGE, AMI_URL=url), 76, "AMI_URL: ", "; --cafile")
        assert run(*MESSAGE, AMI_URL=url, AMI_CAFILE=SERVER_PEM)[0] == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://me:t0p@host", "ami://", "ami://me:t0p@host:port", "ami://me:t0p@host:70000",
        "ami://me:t0p@host/folder", "ami://me:t0p@host?nonsense", "ami://me:t0p@host?x=t0p",
        "ami://me:t0p@host?cafile=x", "ami://me:t0p@host?timeout=-1", "ami://me:t0p@[host",
        "ami://me:t0p@host:0", "ami://host", "ami://me@t0p",
    ],
)  # fmt: skip
def test_error_for_an_invalid_url_hides_its_secret(run: Runner, url: str) -> None:
    result = run(*MESSAGE, AMI_URL=url)
    assert_one_line(result, 78)
    assert "t0p@" not in result[2] and ":t0p" not in result[2]


@pytest.mark.parametrize(
    "text, values",
    [
        ("[amisend]\nport = x\n", ["port: ", "'x'"]),
        ("[amisend]\ntls = perhaps\n", ["tls: ", "'perhaps'"]),
        ("[amisend]\nsecrets = t0p\n", ["line 2", "host, port, username"]),
        ("[amisend]\nt0p= \n", ["line 2"]), ("[amisend]\nmechanism = md6", ["mechanism: ", "md6"]),
        ("[other]\nsecret = t0p\n", ["[amisend]"]), ("[amisend]\n[other]\n", ["[amisend]"]),
        ("secret = t0p\n", ["line 1", "[amisend]"]), ("[amisend]\nt0p\n", ["line 2", "="]),
        ("[amisend]\n#\nport=1\nPort=2", ["line 4", "line 3", "'port'"]),
        ("[amisend]\nsecret = \udcff\n", ["UTF-8"]),
    ],
)  # fmt: skip
def test_invalid_file(run: Runner, tmp_path: Path, text: str, values: List[str]) -> None:
    path = tmp_path / "conf"
    path.write_bytes(text.encode(errors="surrogateescape"))
    result = run(*MESSAGE, "--config", str(path), **LOGIN)
    assert_one_line(result, 78, f"{path}: ", *values)
    assert "t0p" not in result[2].replace(str(path), "")


def test_missing_file(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    assert_one_line(run(*MESSAGE, "--config", path), 66, path)
    assert_one_line(run(*MESSAGE, AMI_CONFIG=path), 66, path)
    assert_one_line(run(*MESSAGE, "--config", ""), 64, "--config")
    assert_one_line(run(*MESSAGE, XDG_CONFIG_HOME=str(tmp_path)), 78, str(tmp_path), os.devnull)


def test_order_of_files(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = write_file(tmp_path / "system", f"[amisend]\nport = {server.port}\nusername = max\n")
    monkeypatch.setattr(config, "SYSTEM_FILE", system)
    user = write_file(
        tmp_path / "amisend.conf",
        f"\ufeff[amisend]\nusername = me\nsecret = {SECRET}\nfrom = sip:d@e",
    )
    folder = {"XDG_CONFIG_HOME": str(tmp_path), "AMI_SECRET": SECRET}
    assert run(*MESSAGE, **folder)[::2] == (0, "")
    assert run(*MESSAGE, "--from", "sip:x@e", **folder)[0] == 0
    assert [message.from_ for message in server.messages] == ["sip:d@e", "sip:x@e"]
    batch = write_file(tmp_path / "in", '{"to": "pjsip:a", "body": "x"}')
    assert run("--batch", batch, **folder)[0] == 0 and server.messages[2].from_ == "sip:d@e"
    wrong = {**folder, "AMI_SECRET": "x"}
    assert_one_line(run(*MESSAGE, **wrong), 77, "'me'", f"{user}: line 2: username", "AMI_SECRET")
    assert_one_line(run(*MESSAGE, AMI_CONFIG=system, **wrong), 77, f"{system}: line 3: username")
    assert_one_line(run(*MESSAGE, "--config", system, AMI_CONFIG=user, **wrong), 77, "'max'")
    plain = write_file(tmp_path / "system", f"[amisend]\nport={server.port}\nmechanism=plain\n")
    assert run(*MESSAGE, **folder)[0] == 0 and plain == system
    (tmp_path / "amisend.conf").unlink()
    (tmp_path / "amisend.conf").mkdir()
    assert_one_line(run(*MESSAGE, **folder), 66, user)


def test_file_is_utf_8_in_any_locale(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_as_latin_1(path: str, mode: str = "r", encoding: Optional[str] = None) -> IO[Any]:
        return open(path, mode, encoding=encoding or (None if "b" in mode else "latin-1"))

    monkeypatch.setattr(config, "open", open_as_latin_1, raising=False)
    file = write_file(tmp_path / "conf", "[amisend]\nusername = zoë\nsecret = ñandú\n")
    with LoopbackServer(users={"zoë": "ñandú"}) as server:
        assert run(*MESSAGE, "--port", str(server.port), "--config", file)[::2] == (0, "")


# -- User and secret.


def test_missing_user_or_secret(run: Runner) -> None:
    assert_one_line(run(*MESSAGE), 78, "--username", "AMI_USERNAME")
    assert_one_line(run(*MESSAGE, *USER), 78, "--secret-file", "AMI_SECRET")
    assert_one_line(run(*MESSAGE, *USER, AMI_SECRET="a\nb"), 78, "'Secret'")


def test_secret_that_is_not_utf_8(run: Runner) -> None:
    with LoopbackServer(users={"me": "caf\udce9"}) as server:
        options = [*MESSAGE, *USER, "--port", str(server.port)]
        assert run(*options, AMI_SECRET="caf\udce9")[0] == 0


def test_secret_file(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    options = [*MESSAGE, "--port", str(server.port), "--secret-file"]
    for user, text in (("me", SECRET), ("me", SECRET + "\n"), ("me", SECRET + "\r\n"),
                       ("max", "MAX\n")):  # fmt: skip
        secret = write_file(tmp_path / "secret", text)
        assert run(*options, secret, "--username", user)[::2] == (0, "")
    result = run(*options, write_file(tmp_path / "secret", SECRET.strip()), *USER)
    assert_one_line(result, 77)
    assert "t0p" not in result[2]
    assert_one_line(run(*options, str(tmp_path / "missing"), *USER), 66, "--secret-file", "missing")
    assert_one_line(run(*options, str(tmp_path), *USER), 66, "--secret-file")
    empty = write_file(tmp_path / "secret", "\n")
    assert_one_line(run(*options, empty, *USER), 64, "--secret-file", empty)


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640, 0o440])
def test_warning_about_file_modes(
    run: Runner, server: LoopbackServer, tmp_path: Path, mode: int
) -> None:
    options = [*MESSAGE, "--port", str(server.port)]
    secret = write_file(tmp_path / "secret", SECRET, mode)
    result = run(*options, *USER, "--secret-file", secret)
    if not mode & 0o004:
        assert result[::2] == (0, "")
        return
    assert_one_line(result, 0, secret)
    options += ["--secret-file", secret, "--config", str(tmp_path / "conf")]
    for setting in ("secret=x", "url=ami://me:x@localhost"):
        file = write_file(tmp_path / "conf", f"[amisend]\nusername=me\n{setting}", mode)
        code, out, err = run(*options)
        assert code == 0 and file in err
    write_file(tmp_path / "conf", "[amisend]\nusername=me", mode)
    write_file(tmp_path / "secret", SECRET)
    assert run(*options)[::2] == (0, "")


def test_secret_prompt(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open
    has_terminal = True

    def open_terminal(path: str, *arguments: int) -> int:
        if path == "/dev/tty" and not has_terminal:
            raise OSError(path)
        return real_open(os.devnull if path == "/dev/tty" else path, *arguments)

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return secrets.pop()

    options = [*MESSAGE, *USER, "--port", str(server.port)]
    prompts: List[str] = []
    secrets = ["", SECRET]
    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(os, "open", open_terminal)
    assert run(*options)[0] == 78 and not prompts  # standard error is not a terminal
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True, raising=False)
    assert run(*options)[0] == 0
    assert prompts == ["Secret of me: "]
    assert run(*options)[0] == 78 and len(prompts) == 2  # an empty secret
    has_terminal = False
    assert run(*options)[0] == 78 and len(prompts) == 2
    monkeypatch.setattr(sys, "stderr", None)
    assert run(*options)[0] == 78
