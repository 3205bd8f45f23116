"""The project's face: version, package, changelog, citation, promises, links, checks."""

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from configparser import RawConfigParser
from email import message_from_string
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from markdown_it import MarkdownIt

from mixem import __version__

ROOT = Path(__file__).parent.parent
ROOMS = ("mixem", "analysis", "sweeps")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HOME = "https://example.org/mixem-sweeps"
BUILD = (
    "import sys; from setuptools import build_meta; "
    "build_meta.build_sdist('.'); build_meta.build_wheel('.'); print(*sys.modules)"
)
WHEEL_FILES = ("LICENSE", "README.md", "mixem_sweeps.py", "pyproject.toml", "setup.cfg", "setup.py")
SOURCE_FILES = ("CHANGELOG.md", "CITATION.cff", "MANIFEST.in", "constraints.txt")

describe = runpy.run_path(str(ROOT / "setup.py"))["describe"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def setup_cfg() -> RawConfigParser:
    config = RawConfigParser()
    config.read_string(read("setup.cfg"))
    return config


def addresses(page: str) -> list[str]:
    """Where the links and images of a Markdown page lead."""
    tokens = [token for block in MarkdownIt().enable("table").parse(page) for token in block.children or []]
    return [
        str(token.attrGet("href") or token.attrGet("src")) for token in tokens if token.type in ("link_open", "image")
    ]


def is_relative(address: str) -> bool:
    return not re.match(r"#|[a-z]+:", address)


class Built:
    """A wheel made from a copy of the project, offline, with `url` in its setup.cfg unless that is empty."""

    def __init__(self, folder: Path, url: str) -> None:
        for room in ROOMS:
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "tests").mkdir()
        for name in (*WHEEL_FILES, *SOURCE_FILES, "tests/test_project.py"):
            shutil.copy(ROOT / name, folder / name)
        if url:
            settings = read("setup.cfg").replace("[metadata]\n", f"[metadata]\nurl = {url}\n")
            (folder / "setup.cfg").write_text(settings, encoding="utf-8")
        built = subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, capture_output=True, text=True)
        self.modules = set(built.stdout.splitlines()[-1].split())
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as source:
            self.source = {name.partition("/")[2] for name in source.getnames()}
        (wheel,) = folder.glob("*.whl")
        with ZipFile(wheel) as archive:
            self.files = set(archive.namelist())
            (metadata,) = (name for name in self.files if name.endswith(".dist-info/METADATA"))
            self.metadata: Message = message_from_string(archive.read(metadata).decode())
        self.description = str(self.metadata.get_payload())


@pytest.fixture(scope="module")
def homeless(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("homeless"), "")


@pytest.fixture(scope="module")
def housed(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("housed"), HOME)


def test_the_package_takes_its_version_from_mixem(homeless: Built) -> None:
    assert setup_cfg()["metadata"]["version"] == "attr: mixem.__version__"
    assert homeless.metadata["Version"] == __version__


def test_building_a_wheel_imports_neither_torch_nor_the_package(homeless: Built) -> None:
    assert "setuptools" in homeless.modules
    assert not homeless.modules & {"torch", *ROOMS}


def test_a_wheel_holds_every_file_of_the_packages(homeless: Built) -> None:
    files = {path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()}
    expected = {"mixem_sweeps.py", *(str(path) for path in files if "__pycache__" not in path.parts)}
    assert {"mixem/py.typed", "mixem/presets/stl10.yaml", "sweeps/digits.yaml"} <= expected
    assert {name for name in homeless.files if ".dist-info/" not in name} == expected


def test_the_source_distribution_makes_the_wheel_and_holds_no_tests(homeless: Built) -> None:
    packages = {name for name in homeless.files if ".dist-info/" not in name}
    assert packages | {*WHEEL_FILES, *SOURCE_FILES} <= homeless.source
    assert not [name for name in homeless.source if name.startswith("tests/")]


def test_the_description_without_a_home_keeps_absolute_links_alone(homeless: Built) -> None:
    assert homeless.metadata["Description-Content-Type"] == "text/markdown"
    expected = [address for address in addresses(read("README.md")) if not is_relative(address)]
    assert expected
    assert addresses(homeless.description) == expected


def test_the_description_with_a_home_has_every_link_made_absolute(housed: Built) -> None:
    before, after = addresses(read("README.md")), addresses(housed.description)
    assert len(before) == len(after)
    assert not [address for address in after if is_relative(address)]
    paths = [re.sub(rf"^{HOME}/(blob|raw)/HEAD/", "", address) for address in after]
    assert paths == before
    assert housed.metadata["Home-page"] == HOME


def test_a_package_index_shows_the_paper_and_with_a_home_more(homeless: Built, housed: Built) -> None:
    paper = "Paper, https://arxiv.org/abs/2007.09502"
    assert homeless.metadata.get_all("Project-URL") == [paper]
    pages = {"Source": "", "Documentation": "/tree/HEAD/docs", "Changelog": "/blob/HEAD/CHANGELOG.md"}
    expected = {paper, *(f"{name}, {HOME}{page}" for name, page in pages.items())}
    assert set(housed.metadata.get_all("Project-URL") or ()) == expected


@pytest.mark.parametrize(
    ("text", "with_home", "without"),
    [
        (
            "[a](docs/a.md) [b](docs/b.md#c)",
            f"[a]({HOME}/blob/HEAD/docs/a.md) [b]({HOME}/blob/HEAD/docs/b.md#c)",
            "a b",
        ),
        ("![a](docs/a.png)", f"![a]({HOME}/raw/HEAD/docs/a.png)", ""),
        ("[a](https://a.org) [b](#b)", "[a](https://a.org) [b](#b)", "[a](https://a.org) [b](#b)"),
        ("![a](https://a.org/a.png)", "![a](https://a.org/a.png)", "![a](https://a.org/a.png)"),
        ("[[1](a.md)] (b)", f"[[1]({HOME}/blob/HEAD/a.md)] (b)", "[1] (b)"),
    ],
)
def test_relative_links_become_absolute_or_text(text: str, with_home: str, without: str) -> None:
    assert describe(text, HOME) == with_home
    assert describe(text, "") == without


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_of_the_repositorys_pages_lead_to_files(page: Path) -> None:
    links = [
        address.partition("#")[0] for address in addresses(page.read_text(encoding="utf-8")) if is_relative(address)
    ]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_the_tests_that_promises_name_are_there(page: str) -> None:
    promises = re.findall(r"`([\w/]+\.py)(?:::(\w+)…?)?`", read(page))
    assert len(promises) > 8
    missing = [f"{file}: {test}" for file, test in promises if f"def {test}" not in read(f"tests/{file}")]
    assert missing == []


def test_the_citation_names_this_version_and_licence() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == __version__
    assert citation["license"] == setup_cfg()["metadata"]["license_expression"]
    assert [reference["url"] for reference in citation["references"]] == ["https://arxiv.org/abs/2007.09502"]


def test_the_changelog_begins_with_this_version() -> None:
    newest, *older = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    release, dev, _ = __version__.partition(".dev")
    dated = r" - \d{4}-\d\d-\d\d"
    assert re.fullmatch(rf"Unreleased \({re.escape(release)}\)" if dev else re.escape(release) + dated, newest)
    assert all(re.fullmatch(rf"\d+\.\d+\.\d+{dated}", heading) for heading in older)
    assert older[-1].startswith("0.1.0 ")


def test_the_installation_page_explains_every_extra() -> None:
    rows = [line.split("|")[1] for line in read("docs/install.md").splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(setup_cfg()["options.extras_require"])


def test_hooks_before_a_commit_run_the_tools_of_make_lint() -> None:
    (local,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert local["repo"] == "local"
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    assert lint
    commands = re.sub(r"--check|docker/Dockerfile| \.$", "", lint[1].replace("$(BIN)", ".venv/bin"), flags=re.MULTILINE)
    assert [hook["entry"] for hook in local["hooks"]] == [command.strip() for command in commands.splitlines()]


def test_the_python_that_is_checked_is_the_one_that_is_claimed() -> None:
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    (python,) = (step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {}))
    claimed = re.findall(r":: Python :: (3\.\d+)$", setup_cfg()["metadata"]["classifiers"], re.MULTILINE)
    assert claimed == [python]
    script = job["steps"][-1]["run"].removeprefix("bash ")
    assert (ROOT / script).is_file()


def published() -> dict[str, dict[str, str]]:
    """The named steps of the workflow that publishes a version."""
    workflow = yaml.safe_load(read(".github/workflows/publish.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    return {step["name"]: step for step in workflow["jobs"]["publish"]["steps"] if "name" in step}


def run_step(name: str, folder: Path, **environment: str) -> int:
    """Run a step of it as the host does."""
    command = ["bash", "-e", "-c", published()[name]["run"]]
    return subprocess.run(command, cwd=folder, env={"PATH": "/usr/bin:/bin", **environment}, check=False).returncode


def test_publishing_needs_a_token_and_a_tag_that_names_the_version() -> None:
    text = read(".github/workflows/publish.yml")
    assert re.findall(r"secrets\.(\w+)", text) == ["PYPI_API_TOKEN"]
    assert run_step("The tag names the version", ROOT, GITHUB_REF_NAME=f"v{__version__}") == 0
    assert run_step("The tag names the version", ROOT, GITHUB_REF_NAME="v0.0.1") == 1


def test_publishing_gives_the_description_a_home(tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    server, _, repository = HOME.rpartition("/")
    step = "Links of the description lead here"
    assert run_step(step, tmp_path, GITHUB_SERVER_URL=server, GITHUB_REPOSITORY=repository) == 0
    config = RawConfigParser()
    config.read(tmp_path / "setup.cfg", encoding="utf-8")
    assert config["metadata"]["url"] == HOME
    assert config["metadata"]["name"] == "mixem-sweeps"
