"""One stage of one configuration in a folder of its own: resumable, and recorded whole or not at all."""

import csv
import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixem.checkpoint import load_tensors, save_arrays, save_tensors
from mixem.config import Config
from mixem.data.dataset import Dataset, split_stage
from mixem.errors import CheckpointError, DataError, OutOfMemoryError
from mixem.files import write_json, write_text
from mixem.old_records import STATES, Stage, identity, is_finished, read_record, saved_states, write_config
from mixem.provenance import provenance
from mixem.runtime import exact_fp32, keep_freed_memory, set_threads
from mixem.scoring.clustering import (
    Embedding,
    cluster_baselines,
    cluster_mixture,
    collapse_warnings,
    embed,
    score,
    score_starts,
)
from mixem.scoring.exhibits import write_examples
from mixem.scoring.label_free import label_free
from mixem.scoring.probes import probe
from mixem.settings import base_hash
from mixem.training import EpochRecord, Training

logger = logging.getLogger(__name__)


class Experiment:
    """Trains, scores and records one stage; `step` until `finished`.

    Raises DivergenceError and OutOfMemoryError from `step`; what is on disk then still holds the last saved state.
    """

    def __init__(
        self,
        stage: Stage,
        config: Config,
        folder: Path,
        dataset: Dataset,
        base: dict[str, Tensor] | None = None,
    ) -> None:
        """`base`: stage 1's weights for `train`."""
        keep_freed_memory()
        set_threads(getattr(config, stage).threads)
        exact_fp32()
        self.stage, self.config, self.folder, self.dataset = stage, config, folder, dataset
        with _memory_advice(stage):
            self.training = Training(stage, config, split_stage(dataset, config.data, getattr(config, stage)), base)
        self.history: list[dict[str, float]] = []
        self._saved_at = time.monotonic()
        write_config(folder, config)
        # how an earlier attempt ended, and a killed writer's temporary files, which begin with a dot
        for stale in (folder / "failed.json", folder / "stopped.json", *folder.glob(".*.*")):
            stale.unlink(missing_ok=True)
        self.finished = is_finished(folder)
        """Whether the result is recorded."""
        with _memory_advice(stage):
            self._resume()

    def _resume(self) -> None:
        """Go on from the newest state that is whole; those that are of no use are removed.

        A dying worker of a killed driver may still rename them.
        """
        for state in saved_states(self.folder):
            try:
                self.history = self.training.load(state, self.dataset.checksum())
                return
            except CheckpointError as error:
                logger.warning("saved state passed over: %s", error)
                state.unlink(missing_ok=True)

    def _save(self) -> None:
        """Write the state, the one before it kept."""
        newest, previous = (self.folder / name for name in STATES)
        with suppress(FileNotFoundError):
            newest.rename(previous)
        self.training.save(newest, self.history, self.dataset.checksum())
        self._saved_at = time.monotonic()

    def step(self) -> EpochRecord:
        """Train one epoch; after the last one score the model and write the record."""
        with _memory_advice(self.stage):
            record = self.training.run_epoch()
            self.history.append(record.row())
            self._write_metrics()
            if self.training.finished:
                self._finish(record)
                self.finished = True
                return record
        if time.monotonic() - self._saved_at >= self.config.runtime.save_seconds:
            self._save()
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
        more: dict[str, Any]
        if self.stage == "pretrain":
            clusterings, starts = cluster_baselines(embedding, test, self.config)
            supervised = probe(self.training.model, embedding, self.dataset, self.config)
            more = {"restarts": score_starts(starts, test), "supervised": supervised}
        else:
            clusterings = cluster_mixture(embedding, self.config)
            more = {"label_free": label_free(self.training)}
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
            **more,
            "warnings": collapse_warnings(scores, components) if self.stage == "train" else [],
            "provenance": provenance(self.config, self.dataset),
        }
        if self.stage == "train":
            write_embedding(self.folder / "embedding.npz", embedding, clusterings["mixem"], test.labels)
            write_examples(self.folder / "examples.npz", embedding, test, self.config)
        save_tensors(
            self.folder / "weights.safetensors",
            self.training.model.state_dict(),
            {"stage": self.stage, "hash": identity(self.stage, self.config)},
        )
        write_json(self.folder / "result.json", record)
        for state in saved_states(self.folder):
            state.unlink(missing_ok=True)


@contextmanager
def _memory_advice(stage: Stage) -> Iterator[None]:
    """Turn a GPU's full memory into an error that says what helps; nothing is made smaller in silence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise OutOfMemoryError(
            f"the GPU's memory does not hold {stage}; what helps is a smaller {stage}.batch_size, or a larger "
            "resources.gpu, so that fewer trials share a GPU"
        ) from None


def check_images(folder: Path, dataset: Dataset) -> None:
    """Raise DataError when the finished stage in `folder` was trained on other images than `dataset`."""
    before, now = read_record(folder)["provenance"].get("data_checksum", ""), dataset.checksum()
    if before != now:
        raise DataError(
            f"{folder}: made with other images than are there now (checksum {before[:12]}, now {now[:12]}); "
            "use another folder for the results"
        )


def load_base(folder: Path, dataset: Dataset) -> dict[str, Tensor]:
    """Stage 1's weights. Raises CheckpointError for damage, DataError for other images than `dataset`."""
    check_images(folder, dataset)
    try:
        tensors, _ = load_tensors(folder / "weights.safetensors")
    except CheckpointError as error:
        raise CheckpointError(f"{error}; remove {folder}, and the base encoder is trained again") from None
    return tensors


def write_embedding(path: Path, embedding: Embedding, clusters: Any, labels: Tensor | None) -> None:
    """Features (N, F) and p (N, M) as float16, clusters and labels (N,) as int16; atomically."""
    assert embedding.p is not None
    arrays = {"features": embedding.features.astype(np.float16), "p": embedding.p.astype(np.float16)}
    arrays["clusters"] = np.asarray(clusters, dtype=np.int16)
    if labels is not None:
        arrays["labels"] = labels.numpy().astype(np.int16)
    save_arrays(path, arrays)


def _column_order(key: str) -> tuple[int, str]:
    groups = ("epoch", "seconds", "learning_rate", "train_", "validation_")
    return next(number for number, group in enumerate(groups) if key.startswith(group)), key
