"""One stage of one configuration in a folder of its own: resumable, and recorded whole or not at all.

FOLDER/config.yaml            the configuration
       metrics.csv            one row an epoch
       state.safetensors      where to go on from, while it runs
       weights.safetensors    the trained model
       embedding.npz          stage 2: features, p and clusters of the test split
       result.json            written last: this stage is finished
       failed.json            instead: why it ended
"""

import csv
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mixem.checkpoint import load_tensors, save_tensors
from mixem.config import Config
from mixem.config_io import base_hash, config_hash, dump_config
from mixem.datasets import Dataset, split_stage
from mixem.errors import CheckpointError, DataError
from mixem.evaluation import Embedding, cluster_baselines, cluster_mixture, collapse_warnings, embed, score
from mixem.files import write_atomically, write_json, write_text
from mixem.provenance import provenance
from mixem.runtime import keep_freed_memory, set_threads
from mixem.training import EpochRecord, Stage, Training

logger = logging.getLogger(__name__)


class Experiment:
    """Trains, scores and records one stage; `step` until `finished`.

    Raises DivergenceError from `step`; what is on disk then still holds the last saved state.
    """

    def __init__(
        self,
        stage: Stage,
        config: Config,
        folder: Path,
        dataset: Dataset,
        base: dict[str, Tensor] | None = None,
        save_seconds: float = 30.0,
    ) -> None:
        """`base`: stage 1's weights for `train`; `save_seconds`: time between two saved states."""
        keep_freed_memory()
        set_threads(getattr(config, stage).threads)
        self.stage, self.config, self.folder, self.dataset = stage, config, folder, dataset
        self.save_seconds = save_seconds
        self.training = Training(stage, config, split_stage(dataset, config.data, getattr(config, stage)), base)
        self.history: list[dict[str, float]] = []
        self._saved_at = time.monotonic()
        write_config(folder, config)
        for stale in (
            folder / "failed.json",
            *folder.glob(".*.*"),
        ):  # temporary files of a killed writer begin with a dot
            stale.unlink(missing_ok=True)
        state = folder / "state.safetensors"
        if state.exists():
            try:
                self.history = self.training.load(state)
            except CheckpointError as error:
                logger.warning("starting over: %s", error)

    @property
    def finished(self) -> bool:
        """Whether the result is recorded."""
        return is_finished(self.folder)

    def step(self) -> EpochRecord:
        """Train one epoch; after the last one score the model and write the record."""
        record = self.training.run_epoch()
        self.history.append(record.row())
        self._write_metrics()
        if self.training.finished:
            self._finish(record)
        elif time.monotonic() - self._saved_at >= self.save_seconds:
            self.training.save(self.folder / "state.safetensors", self.history)
            self._saved_at = time.monotonic()
        return record

    def _write_metrics(self) -> None:
        keys = sorted({key for row in self.history for key in row}, key=_column_order)
        text = io.StringIO()
        writer = csv.DictWriter(text, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.folder / "metrics.csv", text.getvalue())

    def _finish(self, last: EpochRecord) -> None:
        test = self.dataset.pool("test")
        embedding = embed(self.training.model, test.images, self.config)
        cluster = cluster_baselines if self.stage == "pretrain" else cluster_mixture
        clusterings = cluster(embedding, test, self.config)
        scores = score(clusterings, test)
        components = self.config.model.components
        record: dict[str, Any] = {
            "trial" if self.stage == "train" else "base": identity(self.stage, self.config),
            **({"base": base_hash(self.config)} if self.stage == "train" else {}),
            "status": "finished",
            "epochs": last.epoch,
            "seconds": round(sum(row["seconds"] for row in self.history), 3),
            "training": last.training,
            "validation": last.validation,
            "scores": {name: entry.as_dict() for name, entry in scores.items()},
            "warnings": collapse_warnings(scores, components) if self.stage == "train" else [],
            "provenance": provenance(self.config, self.dataset),
        }
        if self.stage == "train":
            write_embedding(self.folder / "embedding.npz", embedding, clusterings["mixem"], test.labels)
        save_tensors(
            self.folder / "weights.safetensors",
            self.training.model.state_dict(),
            {"stage": self.stage, "hash": identity(self.stage, self.config)},
        )
        write_json(self.folder / "result.json", record)
        (self.folder / "state.safetensors").unlink(missing_ok=True)


def identity(stage: Stage, config: Config) -> str:
    """The hash that names a stage's folder."""
    return base_hash(config) if stage == "pretrain" else config_hash(config)


def is_finished(folder: Path) -> bool:
    """Whether `folder` holds the record of a finished stage."""
    return (folder / "result.json").exists()


def write_config(folder: Path, config: Config) -> None:
    """Write config.yaml, runnable alone by `mixem train`."""
    write_text(folder / "config.yaml", dump_config(config))


def write_failure(folder: Path, name: str, reason: str, epoch: int | None) -> None:
    """Record that a stage ended without a result, and why, in one line."""
    write_json(folder / "failed.json", {"trial": name, "reason": " ".join(reason.split()), "epoch": epoch})


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a finished stage; raises CheckpointError when it is absent or damaged."""
    path = folder / "result.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged record ({error})") from None


def load_base(folder: Path, dataset: Dataset) -> dict[str, Tensor]:
    """A finished base encoder's weights. Raises DataError when it was trained on other images."""
    trained_on = read_record(folder)["provenance"]["data_checksum"]
    if trained_on != dataset.checksum():
        raise DataError(
            f"{folder}: this base encoder was trained on other images (checksum {trained_on[:12]}, now "
            f"{dataset.checksum()[:12]}); use another run folder"
        )
    tensors, _ = load_tensors(folder / "weights.safetensors")
    return tensors


def write_embedding(path: Path, embedding: Embedding, clusters: Any, labels: Tensor | None) -> None:
    """Features (N, F) and p (N, M) as float16, clusters and labels (N,) as int16; atomically."""
    assert embedding.p is not None
    arrays = {"features": embedding.features.astype(np.float16), "p": embedding.p.astype(np.float16)}
    arrays["clusters"] = np.asarray(clusters, dtype=np.int16)
    if labels is not None:
        arrays["labels"] = labels.numpy().astype(np.int16)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    write_atomically(path, write)


def _column_order(key: str) -> tuple[int, str]:
    groups = ("epoch", "seconds", "learning_rate", "train_", "validation_")
    return next(number for number, group in enumerate(groups) if key.startswith(group)), key
