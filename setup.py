"""Everything is in setup.cfg but this: the source distribution holds the tests, too."""

from setuptools import setup
from setuptools.command.sdist import sdist


class SourceDistribution(sdist):
    def make_distribution(self):
        self.filelist.graft("tests")
        self.filelist.global_exclude("*.py[cod]")
        super().make_distribution()


setup(cmdclass={"sdist": SourceDistribution})
