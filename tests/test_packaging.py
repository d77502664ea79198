"""The source distribution holds what its tests need."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.readme import ROOT


def test_the_source_distribution_holds_its_tests(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path),
         "sdist", "--dist-dir", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.rst", "setup.cfg", "setup.py"}
    for folder in ("amiproto", "amiclient", "tests"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                wanted.add(file.relative_to(ROOT).as_posix())
    assert len(wanted) > 100
    assert wanted <= held
    assert not [name for name in held if name.endswith((".pyc", "__pycache__"))]
