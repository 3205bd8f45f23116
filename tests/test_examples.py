"""The programs and the notebook in examples/: they run, on small things."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mixem.run import Run
from tests.analysis.run_folder import RunBuilder
from tests.sweeps.plans import paint

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
RECORDS = ROOT / "docs" / "results" / "digits-12x4" / "run"
pytestmark = pytest.mark.ray  # starts other processes

TINY = (
    *("model.width=4", "data.image_size=8", "pretrain.epochs=1", "pretrain.batch_size=8", "train.epochs=1"),
    *("train.batch_size=8", "train.validation=0.25", "pretrain.validation=0.25"),
)


def run_example(name: str, *arguments: object, cwd: Path) -> str:
    """What an example prints."""
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The folder in which the first example ran, its pictures, and what it printed."""
    folder = tmp_path_factory.mktemp("own")
    pictures = paint(folder / "pictures, all: {mine}", count=20)
    Image.new("RGB", (9, 8), "red").save(pictures / "cat" / "photo.JPG")
    return folder, pictures, run_example("own_pictures.py", pictures, 2, *TINY, cwd=folder)


def test_own_pictures(trained: tuple[Path, Path, str]) -> None:
    _, pictures, printed = trained
    lines = [line.split(maxsplit=1) for line in printed.splitlines() if line[:2] in ("0 ", "1 ")]
    assert sorted(path for _, path in lines) == sorted(map(str, pictures.rglob("*.*")))


def test_predict(trained: tuple[Path, Path, str]) -> None:
    folder, pictures, _ = trained
    (trial,) = Run.at(folder / "runs" / "pictures").trials()
    printed = run_example("predict.py", trial.path, *sorted(pictures.rglob("*.png"))[:3], cwd=folder)
    assert printed.count(": cluster ") == 3


def test_read_run(tmp_path: Path) -> None:
    printed = run_example("read_run.py", RECORDS, cwd=tmp_path)
    assert "picked: {" in printed
    assert (tmp_path / "criterion.png").stat().st_size > 1000


def test_own_criterion(tmp_path: Path) -> None:
    printed = run_example("own_criterion.py", RECORDS, cwd=tmp_path)
    assert "loss and stability" in printed
    assert "reference-ties-1" in printed


def test_the_notebooks_cells_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunBuilder(tmp_path / "run").finish_all()
    for number, hash in enumerate(run.configs):
        run.folder(hash).write_metrics([{"epoch": epoch, "train_contrastive": 5 - epoch + number} for epoch in (1, 2)])
        run.assign(hash)
    monkeypatch.setenv("RUN", str(run.path))
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
