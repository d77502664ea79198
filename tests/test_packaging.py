"""What users install: the same bytes whenever it is made, and no file too many or too few."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import List, Set

import pytest

from amiclient import __version__
from tests.readme import ROOT


def _copy(folder: Path, time: int) -> Path:
    """The project as a checkout of another time."""
    for name in ("amiproto", "amiclient", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("README.rst", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        os.utime(path, (time, time))
    return folder


def _make(folder: Path, kind: str) -> Path:
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", kind, "--dist-dir", "dist"],
        cwd=folder, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    (path,) = (folder / "dist").iterdir()
    return path


def _files(folder: Path, *names: str) -> Set[str]:
    paths = [path for name in names for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix() for path in paths}


def _made_twice(tmp_path: Path, kind: str) -> List[Path]:
    folders = [_copy(tmp_path / str(time), time) for time in (10**9, 1_700_000_123)]
    return [_make(folder, kind) for folder in folders]


def test_the_source_distribution(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    one, other = _made_twice(tmp_path, "sdist")
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        held = {entry.name.partition("/")[2] for entry in archive if entry.isfile()}
    made = {"PKG-INFO", "setup.cfg", "setup.py", "README.rst"}
    wanted = _files(ROOT, "amiproto", "amiclient", "tests")
    wanted = {name for name in wanted if "__pycache__" not in name}
    assert len(wanted) > 100
    assert {name for name in held if not name.startswith("amiclient.egg-info/")} == made | wanted


def test_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("wheel", reason="wheel is not installed")
    one, other = _made_twice(tmp_path, "bdist_wheel")
    assert one.name == f"amiclient-{__version__}-py3-none-any.whl"
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as archive:
        held = set(archive.namelist())
    wanted = {name for name in _files(ROOT, "amiproto", "amiclient") if "__pycache__" not in name}
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt"}
    assert held == wanted | {f"amiclient-{__version__}.dist-info/{name}" for name in about}
