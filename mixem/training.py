"""Both training stages in one loop: SimCLR pre-training and MIX'EM (paper sections 3 and 5)."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixem import __version__, compiling
from mixem.augment import SimCLRAugment
from mixem.checkpoint import load_tensors, save_tensors
from mixem.compiling import Exchange
from mixem.config import Config, StageConfig
from mixem.data.dataset import StageSplit
from mixem.errors import CheckpointError, DivergenceError
from mixem.hardware import Precision, cores
from mixem.losses import LossTerms, WeightTensors
from mixem.placing import Images, placed
from mixem.runtime import (
    forget_peak_memory,
    generator,
    hardware_name,
    resolve_compile,
    resolve_device,
    resolve_precision,
    to_device,
)
from mixem.stages import Stage
from mixem.step import BatchTerms, batch_terms, compiled_batch_terms, loss_settings

ADAM_STATE = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam remembers of every parameter."""

_compiled_kinds: set[str] = set()
"""The kinds of steps that this process has compiled."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave: its number (from 1), its seconds, and the mean of every raw loss term."""

    epoch: int
    seconds: float
    compiling: float
    """Of the seconds, what torch.compile took."""
    validating: float
    """Of the seconds, what the validation terms took without compiling."""
    learning_rate: float
    training: dict[str, float]
    validation: dict[str, float] | None
    draws: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The validation terms of each draw; empty where none were measured."""

    def row(self) -> dict[str, float]:
        """One flat row of metrics.csv: `train_<term>` and, where it was measured, `validation_<term>`."""
        row: dict[str, float] = {"epoch": self.epoch, "seconds": round(self.seconds, 4)}
        row |= {"seconds_compiling": round(self.compiling, 4), "seconds_validating": round(self.validating, 4)}
        row["learning_rate"] = self.learning_rate
        row |= {f"train_{term}": value for term, value in self.training.items()}
        return row | {f"validation_{term}": value for term, value in (self.validation or {}).items()}


class Validation(NamedTuple):
    """The raw terms on the validation images: their means, and those of each draw of augmentations."""

    mean: dict[str, float]
    draws: dict[str, tuple[float, ...]]


def learning_rate(stage: StageConfig, epoch: int) -> float:
    """The rate of `epoch` (from 0): full for `hold_epochs`, then one cosine step an epoch with T_max = epochs."""
    steps = max(0, epoch - stage.hold_epochs)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * steps / stage.epochs))


class Training:
    """One stage of one configuration: a model, its optimiser, and the epochs done so far.

    `run_epoch` trains the next epoch; `save` and `load` make it resumable. Batches, augmentations and initial
    weights depend on the seed, the stage and the epoch only, and are drawn on the CPU: trials of one seed see the same
    batches and views whatever their loss weights and device, and on a CPU a resumed run equals an uninterrupted one bit
    for bit.
    """

    def __init__(
        self, stage: Stage[Any], config: Config, split: StageSplit, base: Mapping[str, Tensor] | None = None
    ) -> None:
        """`base`: what `Stage.build` starts from. Raises CheckpointError where they do not fit."""
        self.stage = stage
        self.config = config
        self.settings: StageConfig = stage.settings(config)
        self.device = resolve_device(config.runtime)
        self.precision: Precision = resolve_precision(config.runtime, self.device)
        self.epochs_done = 0
        forget_peak_memory(self.device)
        self.augment = SimCLRAugment(config)
        self.weights = WeightTensors.of(config.loss, self.device)
        self.loss = loss_settings(config.loss, self.device)
        self.images: Images = placed(split.training, self.device)
        self.validation_images = split.validation[: config.validation.images].to(self.device)
        steps = self.settings.epochs * (len(self.images) // self.settings.batch_size)
        self.compiled = resolve_compile(config.runtime, self.device, steps)
        self._batch_terms: BatchTerms = compiled_batch_terms() if self.compiled else batch_terms
        self.exchange: Exchange | None = None
        """Carries what is compiled between nodes. If None, each node compiles."""

        self.model = stage.build(config, base).to(self.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self.epochs_done >= self.settings.epochs

    @property
    def images_per_epoch(self) -> int:
        """Images that the steps of an epoch see: whole batches only."""
        return len(self.images) // self.settings.batch_size * self.settings.batch_size

    @property
    def images_per_validation(self) -> int:
        """Images that one measurement of the validation terms sees, those of every draw counted."""
        return self.config.validation.draws * len(self.validation_images)

    def run_epoch(self) -> EpochRecord:
        """Train the next epoch and measure it. Raises DivergenceError when a term is NaN or infinite."""
        started, compiled = time.perf_counter(), compiling.seconds()
        if self.must_compile:
            self._compile()
        rate = learning_rate(self.settings, self.epochs_done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        training = self._train_epoch()
        self.epochs_done += 1
        self._check(training, "training")
        trained, compiled_training = time.perf_counter(), compiling.seconds()
        validation = None
        if self.finished or self.epochs_done % self.config.validation.every == 0:
            validation = self.validate()
            self._check(validation.mean, "validation")
        ended, compiled_all = time.perf_counter(), compiling.seconds()
        return EpochRecord(
            self.epochs_done,
            seconds=ended - started,
            compiling=compiled_all - compiled,
            validating=max(0.0, ended - trained - (compiled_all - compiled_training)),
            learning_rate=rate,
            training=training,
            validation=validation.mean if validation else None,
            draws=validation.draws if validation else {},
        )

    @property
    def must_compile(self) -> bool:
        """Whether the next epoch begins with compiling, or with reading what another process has compiled."""
        return self.compiled and self._kind not in _compiled_kinds

    @cached_property
    def _kind(self) -> str:
        """Which kind of step it is: all with the same name compile to the same code."""
        config = self.config
        return compiling.kind_of(
            code=__version__,
            hardware=hardware_name(self.device),
            threads=(self.settings.threads or cores()) if self.device.type == "cpu" else None,
            precision=self.precision,
            deterministic=config.runtime.deterministic,
            stage=self.stage.name,
            instance=config.loss.instance,
            batches=[self.settings.batch_size, *map(len, self._validation_batches())],
            data=config.data.model_dump(include={"channels", "image_size", "mean", "std"}),
            augment=config.augment.model_dump(),
            model=config.model.model_dump(),
            runtime=config.runtime.model_dump(exclude={"device", "precision", "compile", "save_seconds"}),
        )

    def _compile(self) -> None:
        """Compile the step with gradients and without, on one batch of each size; the model stays as it was."""
        random, buffers = generator("compiling"), {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        with compiling.once(self._kind, self.exchange):
            self.model.train()
            terms = self._terms(self.images[: self.settings.batch_size], random)
            terms.total(self.weights).backward()  # type: ignore[no-untyped-call]
            self.optimizer.zero_grad(set_to_none=True)
            self.model.eval()
            with torch.no_grad():
                for batch in {len(batch): batch for batch in self._validation_batches()}.values():
                    self._terms(batch, random)
                for name, buffer in self.model.named_buffers():
                    buffer.copy_(buffers[name])
        _compiled_kinds.add(self._kind)

    def _train_epoch(self) -> dict[str, float]:
        self.model.train()
        random = generator(self.config.seed, self.stage.name, "epoch", self.epochs_done)
        batch = self.settings.batch_size
        order = to_device(torch.randperm(len(self.images), generator=random), self.images.device)
        sums: Tensor | None = None
        steps = len(order) // batch
        for step in range(steps):
            terms = self._terms(self.images[order[step * batch : (step + 1) * batch]], random)
            self.optimizer.zero_grad(set_to_none=True)
            terms.total(self.weights).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            values = torch.stack(terms).detach()
            sums = values if sums is None else sums + values
        assert sums is not None
        return self._named(sums / steps)

    def _terms(self, images: Tensor, random: torch.Generator) -> LossTerms:
        """The raw loss terms of one batch of uint8 images, seen in two random views."""
        height, width = images.shape[2:]
        parameters = self.augment.draw(2 * len(images), (height, width), random).to(self.device)
        twice = torch.cat((images, images))
        return self._batch_terms(
            self.stage.objective, self.model, self.augment, twice, parameters, self.loss, self.precision
        )

    @torch.no_grad()
    def validate(self) -> Validation:
        """The raw terms on the fixed validation images under fixed augmentations, by sample (paper section 7).

        The images, their order, their batches and the seeds of the draws are the same for every trial, whatever its
        seed. Batch norm uses its running statistics.
        """
        self.model.eval()
        settings, batches = self.config.validation, self._validation_batches()
        images = sum(map(len, batches))
        sums = torch.zeros(len(LossTerms._fields), device=self.device)
        sums_of_draws = sums.repeat(settings.draws, 1)
        for draw in range(settings.draws):
            random = generator("validation", draw)
            for batch in batches:
                terms = torch.stack(self._terms(batch, random)) * len(batch)
                sums += terms
                sums_of_draws[draw] += terms
        return self._validation(torch.cat(((sums / (settings.draws * images))[None], sums_of_draws / images)))

    def _validation_batches(self) -> Sequence[Tensor]:
        batches = torch.split(self.validation_images, self.config.validation.batch_size)
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < 2 else batches  # one image has no negatives

    def _validation(self, terms: Tensor) -> Validation:
        """Read the terms (1 + draws, terms), their means first."""
        mean, *draws = map(self._named, terms.cpu())
        return Validation(mean, {term: tuple(draw[term] for draw in draws) for term in self.stage.terms})

    def _named(self, values: Tensor) -> dict[str, float]:
        named = dict(zip(LossTerms._fields, values.tolist(), strict=True))
        return {term: named[term] for term in self.stage.terms}

    def _check(self, terms: dict[str, float], where: str) -> None:
        for term, value in terms.items():
            if not math.isfinite(value):
                when = f"in epoch {self.epochs_done} of {self.stage.name}"
                raise DivergenceError(f"{where} term {term} became {value} {when}")

    def save(self, path: Path, history: list[dict[str, float]], data: str = "") -> None:
        """Write everything a later `load` needs to go on, and the epochs' rows so far, atomically.

        `data`: checksum of the images it was trained on.
        """
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
        metadata = {
            "stage": self.stage.name,
            "epochs_done": str(self.epochs_done),
            "history": json.dumps(history),
            "data": data,
        }
        save_tensors(path, tensors, metadata)

    def load(self, path: Path, data: str = "") -> list[dict[str, float]]:
        """Go on from `save`; returns the rows so far. Raises CheckpointError when the file or the images do not fit."""
        tensors, metadata = load_tensors(path)
        if metadata.get("stage") != self.stage.name:
            raise CheckpointError(f"{path}: state of stage {metadata.get('stage')!r}, not {self.stage.name!r}")
        if metadata.get("data") != data:
            raise CheckpointError(f"{path}: trained on other images")
        model = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                states.setdefault(int(index), {})[name] = value
        expected = self.model.state_dict()
        if {key: value.shape for key, value in model.items()} != {key: value.shape for key, value in expected.items()}:
            raise CheckpointError(f"{path}: does not fit the model (other weights or shapes)")
        if any(set(states.get(index, {})) != ADAM_STATE for index in range(len(list(self.model.parameters())))):
            raise CheckpointError(f"{path}: the optimiser's state is incomplete")
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})
        for parameter, state in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # fused Adam walks raw memory: moments need the weights' layout
                state[name] = torch.empty_like(parameter).copy_(state[name])
        self.epochs_done = int(metadata["epochs_done"])
        history: list[dict[str, float]] = json.loads(metadata["history"])
        return history
