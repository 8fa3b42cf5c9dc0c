"""Packs manifests/ into the wheel as ops/manifests; everything else stands in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithManifests(build_py):
    """The usual build, and the manifests beside the package that prints them."""

    def run(self) -> None:
        """Build; an editable installation reads manifests/ where it stands."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "ops" / "manifests"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / "manifests", target)


setup(cmdclass={"build_py": BuildWithManifests})
