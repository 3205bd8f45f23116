"""A builder of run folders: what a sweep leaves behind, without training anything."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from analysis.findings import Findings
from mixem.config import Config, LossWeights
from mixem.records import BaseRecord, Provenance, RunSpec, Scores, TrialRecord
from mixem.run import Run, TrialFolder
from mixem.settings import base_hash, config_hash, preset_values, set_key, validate

Axes = Mapping[str, Sequence[Any]]

GRID: Axes = {
    "loss.lambda2": [0.0, 0.01, 0.1],
    "loss.lambda3": [0.0, 0.05, 0.1],
    "loss.lambda4": [0.0, 0.05, 0.1],
    "seed": [0],
}
PROVENANCE: Mapping[str, Any] = {
    "mixem": "0.1.0",
    "git": "0123abc",
    "python": "3.11.2",
    "torch": "2.11.0",
    "torchvision": "0.26.0",
    "numpy": "2.4.0",
    "scikit_learn": "1.8.0",
    "device": "cpu",
    "hardware": "2 cores",
    "precision": "fp32",
    "threads": 2,
    "data_checksum": "sha256:9f2c",
    "data": ["pretrain: train, 9,000 images (1,000 validation)", "test: 10,000 images, used for scores only"],
}
TERMS = {"contrastive": 5.0, "component_entropy": -4.0, "instance": 0.5, "push": -0.9, "pull": 0.7}


def scores(acc: float | None, clusters: int = 10) -> Scores:
    """Scores of a clustering with this accuracy; None without labels."""
    if acc is None:
        return Scores(clusters_used=clusters, size_entropy=2.2)
    nmi, ari = round(acc * 0.97, 4), round(acc * 0.8, 4)
    return Scores(acc=acc, nmi=nmi, ari=ari, clusters_used=clusters, size_entropy=2.2)


def change_record(path: Path, key: str, value: object) -> None:
    """Set a dotted key of a JSON record, which may damage it."""
    path.write_text(json.dumps(set_key(json.loads(path.read_text()), key, value)))


class RunBuilder:
    """Writes one run folder: `finish`, `fail`, `stop`, `start`, or leave pending, each of `configs`."""

    def __init__(
        self,
        path: Path,
        dataset: str = "fashion_mnist",
        axes: Axes | None = None,
        points: Iterable[Sequence[Any]] | None = None,
    ) -> None:
        """`points`: the values of the axes at each trial. If None, all combinations."""
        self.run = Run(path)
        self.axes = {key: list(values) for key, values in (GRID if axes is None else axes).items()}
        self.configs: dict[str, Config] = {}
        preset = preset_values(dataset)
        for point in itertools.product(*self.axes.values()) if points is None else points:
            values = preset
            for key, value in zip(self.axes, point, strict=True):
                values = set_key(values, key, value)
            config = validate(Config, values)
            self.configs[config_hash(config)] = config
        (path / "trials").mkdir(parents=True)
        spec = {"name": "sweep", "dataset": dataset, "axes": self.axes, "trials": list(self.configs)}
        self.run.write_spec(validate(RunSpec, spec))

    @property
    def path(self) -> Path:
        return self.run.path

    def findings(self, *overrides: str) -> Findings:
        return Findings.of(self.run, overrides)

    def spec(self, **changes: Any) -> None:
        """Write spec.yaml with other values, which may damage it."""
        values = yaml.safe_load(self.run.spec_file.read_text())
        self.run.spec_file.write_text(yaml.safe_dump(values | changes, sort_keys=False))

    def trial(self, seed: int = 0, **lambdas: float) -> str:
        """Hash of the trial with these loss weights; those not named are at their default."""
        weights = LossWeights(**lambdas).model_dump()
        for hash, config in self.configs.items():
            if config.seed == seed and config.loss.model_dump(include=set(weights)) == weights:
                return hash
        raise KeyError(lambdas)

    def folder(self, trial: str) -> TrialFolder:
        return self.run.trial(trial)

    def start(self, trial: str, epochs: int = 0) -> TrialFolder:
        """Write the configuration and, for a trial that has started, the metrics of its epochs."""
        folder = self.run.trial(trial)
        folder.begin(self.configs[trial])
        if epochs:
            folder.write_metrics([{"epoch": epoch + 1, "seconds": 2.0} for epoch in range(epochs)])
        return folder

    def finish(
        self,
        trial: str,
        acc: float | None = 0.6,
        validation: Mapping[str, float] | None = None,
        warnings: Sequence[str] = (),
        **changes: Any,
    ) -> TrialFolder:
        folder, config = self.start(trial), self.configs[trial]
        argmax = None if acc is None else acc * 0.9
        record = {
            "trial": trial,
            "base": base_hash(config),
            "epochs": config.train.epochs,
            "seconds": 321.5,
            "training": TERMS,
            "validation": TERMS | dict(validation or {}),
            "scores": {"mixem": scores(acc), "kmeans": scores(acc), "argmax": scores(argmax)},
            "warnings": list(warnings),
            "provenance": PROVENANCE,
        }
        weights = f"weights of {trial}".encode()
        folder.weights_file.write_bytes(weights)
        record["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        folder.finish(validate(TrialRecord, record | changes))
        self.base(config, acc is not None)
        return folder

    def embed(self, trial: str, labels: bool = True, images: bool = True, seed: int = 0) -> TrialFolder:
        """The embedding of 60 test images, three classes and four components, and examples of them.

        Class 0 lies in component 2, class 1 in components 0 and 1, class 2 in 1 but for one image in 3.
        """
        folder, random = self.run.trial(trial), np.random.default_rng(seed)
        classes = np.repeat([0, 1, 2], 20).astype(np.int16)
        component = np.array([2] * 20 + [0] * 12 + [1] * 8 + [1] * 19 + [3])
        p = 0.7 * np.eye(4)[component] + 0.075
        features = np.eye(4)[component] + 0.1 * random.normal(size=(60, 4))
        arrays: dict[str, Any] = {"features": features.astype(np.float16), "p": p.astype(np.float16)}
        arrays |= {"clusters": component} | ({"labels": classes} if labels else {})
        np.savez(folder.embedding_file, **arrays)
        if images:
            pixels = np.repeat(np.arange(60, dtype=np.uint8), 27).reshape(60, 3, 3, 3)  # every image is its number
            positions = random.permutation(60).astype(np.int32)
            names = np.array(["cat", "dog", "$2 bill"] if labels else [], dtype=np.str_)
            np.savez(folder.examples_file, positions=positions, images=pixels[positions], class_names=names)
        return folder

    def keep_clusters(self, trial: str, clusters: NDArray[np.int64]) -> None:
        """Keep the clusters of a trial's test images, and nothing else of its embedding."""
        np.savez(self.folder(trial).embedding_file, clusters=clusters.astype(np.int16))

    def assign(self, trial: str, clusters: Sequence[int] = (0, 1, 0, 1)) -> None:
        """Keep where a trial has put its pictures, and the list of these."""
        numbers = list(range(len(clusters)))
        half = [0.5] * len(clusters)
        table = {"picture": numbers, "cluster": clusters, "component": clusters}
        table |= {"probability": half, "distance": half, "margin": [number / 10 for number in numbers]}
        pd.DataFrame(table).to_parquet(self.folder(trial).assignments_file)
        paths = [f"{number}.png" for number in numbers]
        pd.DataFrame({"picture": numbers, "path": paths, "split": "train+test"}).to_parquet(self.run.pictures_file)

    def base(self, config: Config, labels: bool = True) -> None:
        """The base encoder of a configuration, and the baselines on it."""
        folder = self.run.base(base_hash(config))
        folder.write_config(config)
        folder.finish(
            BaseRecord(
                base=folder.hash,
                epochs=config.pretrain.epochs,
                seconds=900,
                scores={
                    "simclr_kmeans": scores(0.645 + 0.01 * config.seed if labels else None),
                    "pixel_kmeans": scores(0.475 if labels else None),
                },
                provenance=validate(Provenance, PROVENANCE),
            )
        )

    def fail(self, trial: str, reason: str = "push became NaN") -> TrialFolder:
        folder = self.start(trial)
        folder.fail(reason, epoch=7)
        return folder

    def stop(self, trial: str) -> TrialFolder:
        folder = self.start(trial)
        folder.stop("asha", 3, {})
        return folder

    def finish_all(self, labels: bool = True, skip: Sequence[str] = ()) -> "RunBuilder":
        """A plausible surface: accuracy rises with instance and pull, and the reference loss follows it."""
        for i, (trial, config) in enumerate(self.configs.items()):
            if trial in skip:
                continue
            loss = config.loss
            acc = 0.5 + 0.9 * loss.lambda2 + 0.6 * loss.lambda4 - 0.5 * (loss.lambda3 - 0.05) ** 2
            acc += 0.008 * ((i * 7919) % 5 - 2) + 0.006 * config.seed
            terms = {
                "contrastive": 5.0 + 0.2 * loss.lambda4 + 0.001 * config.seed + 0.003 * (i % 4),
                "instance": 1.4 - 9 * loss.lambda2,
                "pull": 0.9 - 6 * loss.lambda4,
                "push": -0.6 - 3 * loss.lambda3,
            }
            self.finish(trial, round(acc, 4) if labels else None, terms)
        return self
