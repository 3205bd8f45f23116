"""The house: imports go one way and never in a circle, functions are short, nothing is unpickled."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("mixem", "analysis", "sweeps")
SERVICE = {"ray", "optuna", "typer", "rich"}
FORBIDDEN: dict[str, set[str]] = {
    "mixem": {"analysis", "sweeps", "pandas", "matplotlib", "jinja2", *SERVICE},
    "analysis": {"sweeps", "torch", "torchvision", *SERVICE},
    "sweeps": set(),
}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
MAX_LINES = 40
"""Of a function, its signature and docstring included."""


def modules(room: str) -> list[Path]:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    return paths


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[str]:
    """The modules, and the names in them, that a file imports anywhere, also for type checking alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def imported(path: Path) -> set[str]:
    """The top-level names a module imports."""
    return {name.partition(".")[0] for name in imported_modules(path)}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imported(path) & FORBIDDEN[room]
    }
    assert not wrong


def test_the_parser_sees_what_the_rooms_import() -> None:
    names = {room: set().union(*map(imported, modules(room))) for room in ROOMS}
    assert {"torch", "pydantic", "mixem"} <= names["mixem"]
    assert {"pandas", "mixem"} <= names["analysis"]
    assert {"ray", "mixem", "analysis"} <= names["sweeps"]


def test_nothing_is_unpickled_but_cifars_published_batches() -> None:
    """Their reader refuses everything but arrays: tests/mixem/data/test_published.py."""
    sources = {path.relative_to(ROOT): path for room in ROOMS for path in modules(room)}
    unpickling = {str(name) for name, path in sources.items() if imported(path) & UNPICKLERS}
    assert unpickling == {"mixem/data/published.py", "analysis/figures/pictures.py"}
    figures = (ROOT / "analysis/figures/pictures.py").read_text(encoding="utf-8")
    assert "from joblib import Parallel, delayed\n" in figures  # a process of its own, no file
    assert figures.count("joblib") == 1
    texts = {str(name): path.read_text(encoding="utf-8") for name, path in sources.items()}
    assert not [name for name, text in texts.items() if "torch.load(" in text or "allow_pickle" in text]
    # what torch has compiled, from its own folder or through Ray
    assert [name for name, text in texts.items() if "cache_artifacts" in text] == ["mixem/compiling.py"]


def dependencies() -> dict[str, set[str]]:
    """Every module of the house, and the modules of the house that it imports.

    A package's own `__init__`, which loads its public names when they are first used, is left out.
    """
    paths = {module_name(path): path for room in ROOMS for path in modules(room) if path.stem != "__init__"}
    return {name: (set(imported_modules(path)) & paths.keys()) - {name} for name, path in paths.items()}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = dependencies()
    assert "mixem.settings" in graph["mixem.run"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file, and how many lines it has."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("room", ROOMS)
def test_functions_are_short(room: str) -> None:
    lengths = {f"{path.relative_to(ROOT)}: {name}": lines for path in modules(room) for name, lines in functions(path)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def loaded(code: str, names: set[str]) -> list[str]:
    """Which of `names` are loaded after `code` has run in a fresh interpreter."""
    code += f"; import sys; print(*sorted(set({sorted(names)}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.split()


def test_configurations_are_read_without_torch() -> None:
    code = "import mixem; mixem.preset('stl10'); import mixem.run"
    assert loaded(code, {"torch", "numpy", "sklearn", "pandas", "ray", "json"}) == ["json"]


@pytest.mark.ray
def test_reports_are_written_without_torch() -> None:
    code = "import " + ", ".join(map(module_name, modules("analysis")))
    assert loaded(code, {"torch", "ray", "optuna", "pandas"}) == ["pandas"]
