"""Imports go one way: mixem <- analysis <- sweeps."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("mixem", "analysis", "sweeps")
SERVICE = {"ray", "optuna", "typer", "rich"}
FORBIDDEN = {
    "mixem": {"analysis", "sweeps", "pandas", "matplotlib", "jinja2", *SERVICE},
    "analysis": {"sweeps", "torch", "torchvision", *SERVICE},
    "sweeps": set(),
}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
MOST_LINES = 351


def modules(room):
    found = sorted((ROOT / room).rglob("*.py"))
    assert found
    return found


def imported(path):
    """The top-level names a module imports anywhere, also inside functions and for type checking alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module if node.level == 0 else path.relative_to(ROOT).parts[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            names |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imported(path) & FORBIDDEN[room]
    }
    assert not wrong


def test_every_room_uses_the_method():
    """The parser sees imports at all: what the rooms are known to import is found."""
    found = {room: set().union(*map(imported, modules(room))) for room in ROOMS}
    assert {"torch", "pydantic", "mixem"} <= found["mixem"]
    assert {"pandas", "mixem"} <= found["analysis"]
    assert {"ray", "mixem", "analysis"} <= found["sweeps"]


def test_nothing_is_unpickled_but_cifars_published_batches():
    """Their reader refuses everything but arrays: tests/mixem/data/test_published.py."""
    sources = {path.relative_to(ROOT): path for room in ROOMS for path in modules(room)}
    found = {str(name) for name, path in sources.items() if imported(path) & UNPICKLERS}
    assert found == {"mixem/data/published.py", "analysis/figures/pictures.py"}
    figures = (ROOT / "analysis/figures/pictures.py").read_text(encoding="utf-8")
    assert "from joblib import Parallel, delayed\n" in figures  # a process of its own, no file
    assert figures.count("joblib") == 1
    texts = {str(name): path.read_text(encoding="utf-8") for name, path in sources.items()}
    assert not [name for name, text in texts.items() if "torch.load(" in text or "allow_pickle" in text]


@pytest.mark.parametrize("room", ROOMS)
def test_modules_are_short(room):
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(room)}
    assert {path: length for path, length in lengths.items() if length >= MOST_LINES} == {}


def loaded(code, names):
    """Which of `names` are loaded after `code` has run in a fresh interpreter."""
    code += f"; import sys; print(*sorted(set({sorted(names)}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.split()


def test_configurations_are_read_without_torch():
    code = "import mixem, mixem.config, mixem.settings as io; io.preset('stl10')"
    assert loaded(code, {"torch", "numpy", "sklearn", "pandas", "ray", "json"}) == ["json"]


def test_reports_are_written_without_torch():
    names = (path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in modules("analysis"))
    code = "import " + ", ".join(name.removesuffix(".__init__") for name in names)
    assert loaded(code, {"torch", "ray", "optuna", "pandas"}) == ["pandas"]
