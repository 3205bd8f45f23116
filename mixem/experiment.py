"""One stage of one configuration in a folder of its own: resumable, and recorded whole or not at all."""

import csv
import io
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mixem.checkpoint import load_tensors, save_tensors
from mixem.config import Config
from mixem.config_io import base_hash
from mixem.datasets import Dataset, split_stage
from mixem.errors import CheckpointError, DataError
from mixem.evaluation import Embedding, cluster_baselines, cluster_mixture, collapse_warnings, embed, score
from mixem.files import write_atomically, write_json, write_text
from mixem.provenance import provenance
from mixem.records import Stage, identity, is_finished, read_record, write_config
from mixem.runtime import keep_freed_memory, set_threads
from mixem.training import EpochRecord, Training

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
        # the failure of an earlier attempt, and a killed writer's temporary files, which begin with a dot
        for stale in (folder / "failed.json", *folder.glob(".*.*")):
            stale.unlink(missing_ok=True)
        state = folder / "state.safetensors"
        if state.exists():
            try:
                self.history = self.training.load(state, dataset.checksum())
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
            self.training.save(self.folder / "state.safetensors", self.history, self.dataset.checksum())
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
        if self.stage == "pretrain":
            clusterings = cluster_baselines(embedding, test, self.config)
        else:
            clusterings = cluster_mixture(embedding, self.config)
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


def check_images(folder: Path, dataset: Dataset) -> None:
    """Raise DataError when the finished stage in `folder` was trained on other images than `dataset`."""
    before, now = read_record(folder)["provenance"].get("data_checksum", ""), dataset.checksum()
    if before != now:
        raise DataError(
            f"{folder}: made with other images than are there now (checksum {before[:12]}, now {now[:12]}); "
            "use another folder for the results"
        )


def load_base(folder: Path, dataset: Dataset) -> dict[str, Tensor]:
    """A finished base encoder's weights. Raises DataError when it was trained on other images than `dataset`."""
    check_images(folder, dataset)
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
