"""Everything is in setup.cfg, except that the source distribution also contains the tests."""

from setuptools import setup
from setuptools.command.sdist import sdist


class SourceDistribution(sdist):
    def make_distribution(self):
        self.filelist.graft("tests")
        self.filelist.global_exclude("*.py[cod]")
        super().make_distribution()


setup(cmdclass={"sdist": SourceDistribution})
