"""One stage of one configuration in a folder of its own: resumable, and recorded whole or not at all."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Generic

import torch
from torch import Tensor

from mixem.checkpoint import parse_tensors, save_tensors
from mixem.config import Config
from mixem.data.dataset import Dataset, split_stage
from mixem.errors import CheckpointError, DataError, OutOfMemoryError
from mixem.provenance import provenance
from mixem.records import Cost, StageRecord
from mixem.run import BaseFolder, StageFolder, StageName, Status, validation_terms
from mixem.runtime import numerics, peak_memory
from mixem.stages import Stage
from mixem.training import EpochRecord, Training

NO_EPOCH = EpochRecord(0, 0.0, 0.0, 0.0, 0.0, {}, None)
"""Of a stage that uses the encoder it starts from as it is."""
logger = logging.getLogger(__name__)


class Experiment(Generic[StageRecord]):
    """Trains, scores and records one stage; `step` until `finished`.

    Raises DivergenceError and OutOfMemoryError from `step`; what is on disk then still holds the last saved state.
    """

    def __init__(
        self,
        stage: Stage[StageRecord],
        config: Config,
        folder: StageFolder[StageRecord],
        dataset: Dataset,
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        """`base`: stage 1's weights, from which stage 2 starts; in stage 1 those of the encoder it starts from."""
        self.stage = stage
        self.config = config
        self.folder = folder
        self.dataset = dataset
        self.gpu: float = 1.0
        """The share of a GPU that it has, where it has one; whoever shares one out says so."""
        self.history: list[dict[str, float]] = []
        self._saved_at: float = time.monotonic()
        with self._numerics():
            split = split_stage(dataset, config.data, stage.settings(config))
            self.training = Training(stage, config, split, base)
            folder.begin(config)
            self.finished = folder.status() == Status.FINISHED
            """Whether the result is recorded."""
            self._resume()

    @contextmanager
    def _numerics(self) -> Iterator[None]:
        threads, deterministic = self.stage.settings(self.config).threads, self.config.runtime.deterministic
        with numerics(threads, deterministic), _memory_advice(self.stage.name):
            yield

    def _resume(self) -> None:
        """Go on from the newest state that is whole; those that are of no use are removed.

        A dying worker of a killed driver may still rename them.
        """
        for state in self.folder.states():
            try:
                self.history = self.training.load(state, self.dataset.checksum())
                return
            except CheckpointError as error:
                logger.warning("saved state ignored: %s", error)
                state.unlink(missing_ok=True)

    def save(self) -> None:
        """Write the state, the one before it kept."""
        newest, previous = self.folder.state_files
        with suppress(FileNotFoundError):
            newest.rename(previous)
        self.training.save(newest, self.history, self.dataset.checksum())
        self._saved_at = time.monotonic()

    def step(self) -> EpochRecord:
        """Train one epoch; after the last one, or where there is none, score the model and write the record."""
        with self._numerics():
            epoch = NO_EPOCH
            if not self.training.finished:
                epoch = self.training.run_epoch()
                self.history.append(epoch.row())
                self.folder.write_metrics(self.history)
            if self.training.finished:
                self._finish(epoch)
                self.finished = True
                return epoch
        if time.monotonic() - self._saved_at >= self.config.runtime.save_seconds:
            self.save()
        return epoch

    def _finish(self, last: EpochRecord) -> None:
        model, validation = self.training.model, self.training.validation_images
        started = time.perf_counter()
        results, kept = self.stage.finish(model, validation, self.dataset, self.config, self.folder)
        cost = self._cost(scoring=time.perf_counter() - started)
        metadata = {"stage": self.stage.name, "hash": self.folder.hash}
        checksum = save_tensors(self.folder.weights_file, {**model.state_dict(), **kept}, metadata)
        record = self.stage.record(
            weights_sha256=checksum,
            epochs=last.epoch,
            seconds=round(self._seconds("seconds"), 3),
            cost=cost,
            training=last.training,
            validation=last.validation or {},
            validation_draws=last.draws,
            provenance=provenance(self.config, self.dataset),
            **results,
        )
        self.folder.finish(record)

    def _seconds(self, column: str) -> float:
        """The sum of a column of metrics.csv; an epoch of an earlier version lacks those of its parts."""
        return sum(row.get(column, 0.0) for row in self.history)

    def _cost(self, scoring: float) -> Cost:
        """What all epochs came to; `scoring` in seconds."""
        compiling, validating = self._seconds("seconds_compiling"), self._seconds("seconds_validating")
        measurements = sum(bool(validation_terms(row)) for row in self.history)
        return Cost(
            compiling=round(compiling, 3),
            training=round(max(0.0, self._seconds("seconds") - compiling - validating), 3),
            validating=round(validating, 3),
            scoring=round(scoring, 3),
            images=self.training.images_per_epoch,
            validated=measurements * self.training.images_per_validation,
            peak_memory=peak_memory(self.training.device),
            compiled=self.training.compiled,
            gpu=self.gpu if self.training.device.type == "cuda" else None,
        )


@contextmanager
def _memory_advice(stage: StageName) -> Iterator[None]:
    """Turn a GPU's full memory into an error that says what helps; nothing is made smaller in silence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise OutOfMemoryError(
            f"the GPU's memory does not hold {stage}; what helps is a smaller {stage}.batch_size, or a larger "
            "resources.gpu, so that fewer trials share a GPU"
        ) from None


def check_same_images(folder: StageFolder[StageRecord], record: StageRecord | None, dataset: Dataset) -> None:
    """Raise DataError where the stage in `folder`, if it has a result, was trained on other images than `dataset`."""
    if record is None:
        return
    before, now = record.provenance.data_checksum, dataset.checksum()
    if before != now:
        if record.provenance.reader != dataset.reader:
            raise DataError(
                f"{folder.path}: made with pictures that are read differently since 0.2 ({dataset.read_otherwise}); "
                "use another folder for the results"
            )
        raise DataError(
            f"{folder.path}: made with other images than are there now (checksum {before[:12]}, now {now[:12]}); "
            "use another folder for the results"
        )


def load_base(folder: BaseFolder, dataset: Dataset) -> dict[str, Tensor]:
    """Stage 1's weights. Raises CheckpointError for damage, DataError for other images than `dataset`."""
    check_same_images(folder, folder.result(), dataset)
    try:
        return load_weights(folder)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; remove {folder.path}, and the base encoder is trained again") from None


def load_weights(folder: StageFolder[StageRecord]) -> dict[str, Tensor]:
    """The weights that a stage left. Raises CheckpointError where they are absent, damaged, or not its record's."""
    tensors, _ = parse_tensors(folder.weights(), folder.weights_file)
    return tensors
