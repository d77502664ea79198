"""The source distribution and the wheel have all files, and no others."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Set

import pytest

from amiclient import __version__
from tests.readme import ROOT


def _build(kind: str, folder: Path) -> Path:
    """Build a distribution from a copy of the project."""
    for name in ("amiproto", "amiclient", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.rst", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, folder / name)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", kind, "--dist-dir", "dist"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    (path,) = (folder / "dist").iterdir()
    return path


def _files(*names: str) -> Set[str]:
    paths = [path for name in names for path in (ROOT / name).rglob("*") if path.is_file()]
    return {
        path.relative_to(ROOT).as_posix() for path in paths if path.parent.name != "__pycache__"
    }


def test_source_distribution(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    with tarfile.open(_build("sdist", tmp_path)) as archive:
        names = {entry.name.partition("/")[2] for entry in archive if entry.isfile()}
    expected = _files("amiproto", "amiclient", "tests")
    assert len(expected) > 100
    expected |= {"PKG-INFO", "README.rst", "setup.cfg", "setup.py"}
    assert {name for name in names if not name.startswith("amiclient.egg-info/")} == expected


def test_wheel(tmp_path: Path) -> None:
    pytest.importorskip("wheel", reason="wheel is not installed")
    path = _build("bdist_wheel", tmp_path)
    assert path.name == f"amiclient-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt"}
    about = {f"amiclient-{__version__}.dist-info/{name}" for name in about}
    assert names == _files("amiproto", "amiclient") | about
