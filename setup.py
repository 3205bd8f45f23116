"""Makes the package's long description from README.md; everything else is in setup.cfg."""

import re
from configparser import RawConfigParser
from pathlib import Path

from setuptools import setup

RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!#|[a-z]+:)([^)]+)\)")


def describe(readme: str, url: str) -> str:
    """Return `readme` with its relative links made absolute below `url`; if empty, with their text alone."""
    absolute = rf"\1[\2]({url}/blob/HEAD/\3)" if url else r"\2"
    images = rf"![\2]({url}/raw/HEAD/\3)" if url else ""
    return RELATIVE.sub(lambda link: link.expand(images if link[1] else absolute), readme)


def addresses(url: str) -> dict[str, str]:
    """Return the links that a package index shows beside the description; without a `url` those of setup.cfg alone."""
    pages = {"Source": "", "Documentation": "/tree/HEAD/docs", "Changelog": "/blob/HEAD/CHANGELOG.md"}
    return {name: url + page for name, page in pages.items()} if url else {}


if __name__ == "__main__":
    config = RawConfigParser()
    config.read("setup.cfg", encoding="utf-8")
    url = config.get("metadata", "url", fallback="").rstrip("/")
    paper = dict(line.split(" = ") for line in config.get("metadata", "project_urls").strip().splitlines())
    setup(
        long_description=describe(Path("README.md").read_text(encoding="utf-8"), url),
        project_urls={**paper, **addresses(url)},
    )
