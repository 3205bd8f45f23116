"""Run folders of strangers: whatever lies in them, a report or one line, and nothing outside is touched."""

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.embedding import load_embedding
from analysis.export import export
from analysis.findings import Findings
from analysis.report import write_report
from analysis.results import load_results
from analysis.status import status_lines
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.run import Status
from tests.analysis.run_folder import RunBuilder, change_record


def make_a_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link_to_zero(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def writes(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


BOMB = (
    "a: &a ["
    + "x, " * 50
    + "x]\n"
    + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 50)}]\n" for old, new in zip("abcde", "bcdef", strict=True))
)
ATTACKS: Mapping[str, Callable[[Path], object]] = {
    "pipe": make_a_pipe,
    "device": link_to_zero,
    "bomb": writes(BOMB),
    "deep": writes("[" * 100_000),
    "surrogate": writes('{"a": "\\ud800"}'),
    "digits": writes("9" * 5000),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.long
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["result.json", "config.yaml"])
def test_a_trial_of_odd_files_is_damaged_and_the_others_are_read(small: RunBuilder, name: str, attack: str) -> None:
    hash, *others = small.finish_all().configs
    ATTACKS[attack](small.folder(hash).path / name)
    statuses = load_results(small.run).set_index("trial")["status"]
    assert statuses[hash] == Status.DAMAGED
    assert set(statuses[others]) == {Status.FINISHED}
    assert any(line.startswith(f"  trial {hash} damaged: {name}") for line in status_lines(small.run))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_odd_spec_is_one_line(small: RunBuilder, attack: str) -> None:
    ATTACKS[attack](small.run.spec_file)
    with pytest.raises(ConfigError, match=r"spec\.yaml") as caught:
        Findings.of(small.run)
    assert len(str(caught.value)) < 1000


@pytest.mark.long
@pytest.mark.parametrize("attack", ATTACKS)
def test_odd_weights_and_metrics_are_one_line(small: RunBuilder, tmp_path: Path, attack: str) -> None:
    hash, started, *_ = small.finish_all().configs
    ATTACKS[attack](small.folder(hash).weights_file)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        export(small.findings(), tmp_path, hash)
    small.folder(started).result_file.unlink()
    ATTACKS[attack](small.folder(started).metrics_file)
    assert any(f"trial {started}: epoch 0" in line for line in status_lines(small.run))


@pytest.mark.long
@pytest.mark.parametrize("number", [10**400, 1e300, -1e300, 10**12])
@pytest.mark.parametrize("key", ["seconds", "epochs", "validation.pull", "scores.mixem.nmi", "training.push"])
def test_numbers_that_no_training_gives_are_damage(small: RunBuilder, key: str, number: float) -> None:
    hash, *_ = small.finish_all().configs
    change_record(small.folder(hash).result_file, key, number)
    state = small.folder(hash).read()
    big_enough = number > 10**9 if key == "epochs" else abs(number) > 10**39
    assert (state.status == Status.DAMAGED) == (big_enough or (number < 0 and key in ("seconds", "epochs")))
    status_lines(small.run)
    assert len(load_results(small.run)) == len(small.configs)


ARRAYS: Mapping[str, Any] = {
    "features": [np.zeros((60, 4, 1), np.float16), np.zeros((59, 4), np.float16), np.zeros((60, 4), np.int16)],
    "p": [np.zeros(60, np.float16), np.zeros((60, 0), np.float16), np.zeros((60, 4), "U1")],
    "clusters": [np.zeros((60, 1), np.int16), np.zeros(3, np.int16), np.full(60, -1, np.int16), np.zeros(60)],
    "labels": [np.zeros((60, 2), np.int16), np.full(60, -5, np.int16), np.full(60, 2**40), np.zeros(60, "M8[s]")],
    "positions": [np.full(60, 60, np.int32), np.full(60, -1, np.int32), np.zeros(5, np.int32)],
    "images": [np.zeros((60, 3, 3), np.uint8), np.zeros((60, 2, 3, 3), np.uint8), np.zeros((60, 3, 3, 3), np.float32)],
    "class_names": [np.zeros((3, 1), "U3"), np.zeros(3)],
}


@pytest.mark.long
@pytest.mark.parametrize(("key", "array"), [(key, array) for key, arrays in ARRAYS.items() for array in arrays])
def test_misshapen_arrays_are_damage(small: RunBuilder, key: str, array: Any) -> None:
    hash, *_ = small.finish_all().configs
    folder = small.embed(hash)
    file = folder.examples_file if key in ("positions", "images", "class_names") else folder.embedding_file
    with np.load(file) as stored:
        arrays = {**stored, key: array}
    np.savez(file, **arrays)
    with pytest.raises(CheckpointError, match="damaged arrays"):
        load_embedding(folder)


def test_arrays_that_are_whole_are_read(small: RunBuilder) -> None:
    hash, *_ = small.finish_all().configs
    assert load_embedding(small.embed(hash)).features.shape == (60, 4)
    assert load_embedding(small.embed(hash, labels=False)).labels is None


def test_arrays_of_more_than_the_memory_are_not_unpacked(small: RunBuilder) -> None:
    hash, *_ = small.finish_all().configs
    folder = small.embed(hash)
    header = str({"descr": "<f2", "fortran_order": False, "shape": (10**13, 4)}).encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(folder.embedding_file, "w") as packed:
        packed.writestr("features.npy", content)
    with pytest.raises(CheckpointError, match=r"embedding\.npz: cannot be read"):
        load_embedding(folder)


@pytest.mark.parametrize("name", ["report", "trials", "base", "ray.log", "study.db"])
def test_nothing_is_written_through_a_link_that_leads_out(small: RunBuilder, tmp_path: Path, name: str) -> None:
    small.finish_all()
    outside, link = tmp_path / "outside", small.path / name
    if link.exists():
        link.rename(outside)
    else:
        outside.mkdir()
    (outside / "index.html").write_text("mine")
    link.symlink_to(outside)
    with pytest.raises(MixemError, match=rf"/{name}: a link to {outside}, out of the run folder; remove it$"):
        write_report(small.findings())
    assert (outside / "index.html").read_text() == "mine"


def test_links_within_a_run_folder_stay_and_it_may_be_a_link_itself(small: RunBuilder, tmp_path: Path) -> None:
    (small.path / "elsewhere").mkdir()
    small.run.report_folder.symlink_to("elsewhere")
    (tmp_path / "runs").symlink_to(small.path)
    type(small.run)(tmp_path / "runs").check_links()


@pytest.mark.parametrize("text", ["epoch\nx\n", "a,b\n1,2,3\n", 'epoch\n"' + "x" * 200_000, "epoch\n\udcff"])
def test_metrics_that_are_no_numbers_are_damage(small: RunBuilder, text: str) -> None:
    folder = small.start(next(iter(small.configs)))
    folder.metrics_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"metrics\.csv: damaged"):
        folder.metrics()
