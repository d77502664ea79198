"""Everything is in setup.cfg but this: the source distribution holds the tests, too, and two of the
same commit are the same byte for byte, whenever and wherever they are made."""

import gzip
import os
import pathlib
import tarfile

from setuptools import setup
from setuptools.command.sdist import sdist

#: Seconds since 1970: what the environment says, as it does for a wheel, or the first day of 1980,
#: before which a wheel knows no time.
TIME = int(os.environ.get("SOURCE_DATE_EPOCH", 315532800))


class SourceDistribution(sdist):
    def make_distribution(self):
        self.filelist.graft("tests")
        self.filelist.global_exclude("*.py[cod]")
        super().make_distribution()

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **owners):
        path = base_name + ".tar.gz"
        self.mkpath(os.path.dirname(path))
        with gzip.GzipFile(path, "wb", mtime=TIME) as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for file in sorted(pathlib.Path(base_dir).rglob("*")):
                    archive.add(file, recursive=False, filter=_of_no_machine)
        return path


def _of_no_machine(entry):
    entry.mtime = TIME
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


setup(cmdclass={"sdist": SourceDistribution})
