"""A run folder or an exported model may come from anywhere: opening it runs no code."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.embedding import load_embedding
from mixem.checkpoint import load_tensors
from mixem.errors import MixemError
from mixem.records import TrialRecord
from mixem.run import Run, StageFolder, TrialFolder
from mixem.settings import load_config


def trial_in(folder: Path) -> TrialFolder:
    return StageFolder(folder, TrialRecord)


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self.trace,))


def as_pickle(path: Path, trace: Path) -> None:
    path.write_bytes(pickle.dumps(Attack(trace)))


def as_torch(path: Path, trace: Path) -> None:
    torch.save(Attack(trace), path)


def as_arrays(path: Path, trace: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, features=np.array([Attack(trace)], dtype=object))


def as_yaml(path: Path, trace: Path) -> None:
    path.write_text(f"!!python/object/apply:pathlib.Path.touch\n- !!python/object/apply:pathlib.Path [{trace}]\n")


READERS: dict[str, Callable[[Path], object]] = {
    "spec.yaml": lambda path: Run.at(path.parent).spec(),
    "config.yaml": load_config,
    "best.yaml": load_config,
    "result.json": lambda path: trial_in(path.parent).result(),
    "failed.json": lambda path: trial_in(path.parent).failure(),
    "stopped.json": lambda path: trial_in(path.parent).stopped(),
    "state.safetensors": load_tensors,
    "best.safetensors": load_tensors,
    "embedding.npz": lambda path: load_embedding(trial_in(path.parent)),
}


@pytest.mark.parametrize("attack", [as_pickle, as_torch, as_arrays, as_yaml])
@pytest.mark.parametrize("name", READERS)
def test_no_file_of_a_run_folder_runs_code(tmp_path: Path, name: str, attack: Callable[[Path, Path], None]) -> None:
    path, trace = tmp_path / name, tmp_path / "trace"
    attack(path, trace)
    with pytest.raises(MixemError):
        READERS[name](path)
    assert not trace.exists()


def test_the_attack_works_on_who_unpickles(tmp_path: Path) -> None:
    as_arrays(tmp_path / "arrays.npz", tmp_path / "trace")
    with np.load(tmp_path / "arrays.npz", allow_pickle=True) as file:
        assert file["features"].shape == (1,)
    assert (tmp_path / "trace").exists()
