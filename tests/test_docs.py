"""The documentation: its commands, options and keys are there; the quick start runs; the site builds."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt

from sweeps.cli import app
from tests.sweeps.launch import mixem

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # type: ignore[attr-defined]
KEYS = set(re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs" / "keys.md").read_text(encoding="utf-8"), re.MULTILINE))
CONNECTIVES = ("|", "&&", ";", ">", "&")


def blocks(page: Path) -> str:
    """The blocks of code in a page, a command of several lines on one."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return "".join(token.content for token in tokens if token.type in ("code_block", "fence")).replace("\\\n", " ")


def spans(page: Path) -> list[str]:
    """The code within a page's sentences and tables."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    return [token.content for token in inline if token.type == "code_inline"]


def command_lines(text: str) -> Iterator[list[str]]:
    """What comes after `mixem` in every line of a shell, as words."""
    for line in text.splitlines():
        if re.match(r"\s*(\S.* [|;&]+ )?mixem [a-z]", line):
            words = shlex.split(line, comments=True)
            for start in (number for number, word in enumerate(words) if word == "mixem"):
                rest = words[start + 1 :]
                end = next((number for number, word in enumerate(rest) if word in CONNECTIVES), len(rest))
                yield rest[:end]


def problems(words: list[str]) -> list[str]:
    """What the command line would say of the words after `mixem`, and keys of `--set` that there are not."""
    name, *rest = words
    if name not in COMMANDS:
        return [f"no command {name}"]
    command = COMMANDS[name]
    try:
        values, extra, _ = command.make_parser(typer.Context(command)).parse_args(rest)
    except Exception as error:
        return [f"{name}: {error}"]
    absent = [one.name for one in command.params if one.required and values.get(one.name) in (None, ())]
    keys = [one.partition("=")[0] for one in values.get("overrides") or ()]
    plain = [re.sub(r"^(axes|config)\.", "", key) for key in keys if not key.isupper()]
    unknown = [key for key in plain if key not in KEYS and not any(one.startswith(f"{key}.") for one in KEYS)]
    return [*(f"{name}: {word}?" for word in (*extra, *unknown)), *(f"{name}: no {one}" for one in absent)]


def unknown_options(words: list[str]) -> list[str]:
    """What a mention such as `mixem sweep --address` names and there is not; it need not be a whole command."""
    name, *rest = words
    if name not in COMMANDS:
        return [f"no command {name}"]
    options = {option for one in COMMANDS[name].params for option in (*one.opts, *one.secondary_opts)}
    return [f"{name}: {word}?" for word in rest if re.match("--?[a-z]", word) and word not in options | {"--help"}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_there_is(page: Path) -> None:
    """Options, arguments and the keys of `--set`, as the command's own parser sees them."""
    wrong = [problem for words in command_lines(blocks(page)) for problem in problems(words)]
    wrong += [problem for words in command_lines("\n".join(spans(page))) for problem in unknown_options(words)]
    assert wrong == []


def test_what_is_wrong_with_a_command_is_seen() -> None:
    (good,) = command_lines('    ls | mixem sweep a.yaml --set "loss.lambda2=[0.1]" --dry-run > plan.txt  # the plan')
    assert good == ["sweep", "a.yaml", "--set", "loss.lambda2=[0.1]", "--dry-run"]
    assert problems(good) == []
    assert problems(["swep"]) == ["no command swep"]
    assert "--dryrun" in problems(["sweep", "a.yaml", "--dryrun"])[0]
    wrong = problems(["sweep", "a.yaml", "b.yaml", "--set", "loss.lamda2=1"])
    assert wrong == ["sweep: b.yaml?", "sweep: loss.lamda2?"]
    assert problems(["sweep"]) == ["sweep: no file"]
    assert unknown_options(["sweep", "--address"]) == []
    assert unknown_options(["sweep", "--addres", "-x"]) == ["sweep: --addres?", "sweep: -x?"]


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


READING = ("audit", "best", "clean", "compare", "init", "list", "report", "show", "status", "track")
"""Commands that need nothing but run folders."""
ALL = "docs/results/*/run"
"""What a shell would make many folders of; `tests/analysis/test_laboratory.py` compares what comes of it."""
ELSEWHERE = {
    "cluster": "tests/sweeps/test_newcomer.py",
    "dashboard": "tests/sweeps/test_dashboard.py",
    "data": "tests/sweeps/test_cli.py",
    "fetch": "tests/sweeps/test_cluster.py",
    "merge": "tests/sweeps/test_shards.py",
    "predict": "tests/sweeps/test_predict.py",
    "sort": "tests/sweeps/test_sort.py",
    "submit": "tests/sweeps/test_cluster.py",
    "train": "tests/sweeps/test_sweep.py",
}
"""Commands that need more and are not in the quick start, and the tests that run them."""


def shown_commands() -> list[list[str]]:
    """The commands in the pages' blocks of code, each once; those with placeholders are none."""
    words = [tuple(words) for page in PAGES for words in command_lines(blocks(page))]
    return [list(one) for one in dict.fromkeys(words) if not any("..." in word for word in one)]


def test_each_command_of_the_pages_is_run_by_a_test() -> None:
    shown = {words[0] for words in shown_commands()}
    quick_start = {words[0] for words in command_lines(blocks(ROOT / "docs" / "quickstart.md"))}
    assert shown <= {*READING, *ELSEWHERE, *quick_start}
    for name, file in ELSEWHERE.items():
        assert re.search(rf"\b{name}(_dashboard)?\b", (ROOT / file).read_text(encoding="utf-8")), name


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_that_read_run_folders_work_as_they_stand(tmp_path: Path) -> None:
    """On recorded runs of the same names, which keep no weights."""
    for name, source in (("digits", "digits-12x4"), ("again", "digits-12x4"), ("other", "shapes-3")):
        shutil.copytree(ROOT / "docs" / "results" / source / "run", tmp_path / "runs" / name)
    trial = next((tmp_path / "runs" / "digits" / "trials").iterdir()).name
    commands = [words for words in shown_commands() if words[0] in READING and not {"mlflow", ALL} & set(words)]
    assert {words[0] for words in commands} == set(READING)
    for words in commands:
        done = mixem(*(trial[:4] if word == "9f3a" else word for word in words), cwd=tmp_path)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


@pytest.mark.ray
@pytest.mark.slow
def test_the_quick_start_works_as_it_stands(tmp_path: Path) -> None:
    """But for fewer trials and epochs: a real sweep of two."""
    less = ("--set", "loss.lambda2=[0.1]", "--set", "loss.lambda3=[0]")
    brief = ("--set", "pretrain.epochs=1", "--set", "train.epochs=1", "--set", "config.pretrain.hold_epochs=1")
    lines = [*command_lines(blocks(ROOT / "docs" / "quickstart.md"))]
    assert {words[0] for words in lines} >= {"init", "sweep", "best", "show", "report", "export"}
    for words in lines:
        extra = (*less, *brief) if words[0] == "sweep" else ()
        done = mixem(*words, *extra, cwd=tmp_path)
        assert done.returncode == 0 or words[0] == "doctor", f"{words}: {done.stdout}{done.stderr}"
    assert (tmp_path / "runs" / "digits" / "report-own" / "index.html").exists()
    assert (tmp_path / "exported" / "best.safetensors").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    build = (sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "docs", str(tmp_path))
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert all(f"mixem {command}" in (tmp_path / "help.html").read_text() for command in COMMANDS)
    pages = "".join(path.read_text() for path in tmp_path.glob("*.html"))
    assert re.findall(r'(?:src|stylesheet" href)="(http[^"]+)"', pages) == [], "the site is read offline"


@pytest.mark.parametrize("name", ["quickstart", "pictures"])
def test_a_recording_is_of_the_commands_that_there_are(name: str) -> None:
    script, file = runpy.run_path(str(ROOT / "docs" / "recording.py")), ROOT / "docs" / f"{name}.cast"
    header, *events = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert header == {"version": 2, "width": script["SIZE"][0], "height": script["SIZE"][1]}
    assert file.stat().st_size < 300_000
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    shown = "".join(text for _, _, text in events)
    typed = re.findall(f"{re.escape(script['PROMPT'])}(.+?)\r\n", shown)
    assert typed == [*script["SCRIPTS"][name]]
    assert [problem for words in command_lines("\n".join(typed)) for problem in problems(words)] == []
    assert "error:" not in shown
    assert re.findall(r"/(?:home|root|tmp|work|usr|var)/\S*", shown) == [], "a path of the machine that it was made on"
    assert f"asciinema play docs/{name}.cast" in (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("second", "kept"), [("\r\x1b[2K\x1b[1A\x1b[2Ka\r\nb", 1), ("\r\x1b[2K\x1b[1A\x1b[2Kdone\r\na\r\nb", 2), ("$ ", 2)]
)
def test_a_recording_leaves_out_only_what_is_drawn_over(second: str, kept: int) -> None:
    """A redraw of two lines, and after it: another one, one with a line above, or anything else."""
    thinned = runpy.run_path(str(ROOT / "docs" / "recording.py"))["thinned"]
    redraw = "\r\x1b[2K\x1b[1A\x1b[2Kc\r\nd"
    events = [(0.0, "a\r\nb"), (0.1, redraw), (0.2, second)]
    assert thinned(events) == [events[0], *events[-kept:]]


def test_the_readmes_first_picture_is_of_a_kept_run() -> None:
    picture = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())[0]
    script = runpy.run_path(str(ROOT / "docs" / "screenshot.py"))
    assert ROOT / picture == script["PICTURE"]
    assert script["PICTURE"].stat().st_size < 300_000
    assert (script["RUN"] / "trials").is_dir()
