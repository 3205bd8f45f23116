"""A builder of run folders: what a sweep leaves behind, without training anything."""

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mixem.config import Config, LossWeights
from mixem.settings import base_hash, config_hash, dump_config, preset_values, set_key, validate

GRID: dict[str, list[Any]] = {
    "loss.lambda2": [0.0, 0.01, 0.1],
    "loss.lambda3": [0.0, 0.05, 0.1],
    "loss.lambda4": [0.0, 0.05, 0.1],
    "seed": [0],
}
PROVENANCE = {
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


def scores(acc: float | None, clusters: int = 10) -> dict[str, Any]:
    known = acc is not None
    return {
        "acc": acc,
        "nmi": round(acc * 0.97, 4) if known else None,
        "ari": round(acc * 0.8, 4) if known else None,
        "clusters_used": clusters,
        "size_entropy": 2.2,
    }


@functools.cache
def as_yaml(config: Config) -> str:
    return dump_config(config)


class RunBuilder:
    """Writes one run folder: `finish`, `fail`, or leave pending, each of `configs`."""

    def __init__(self, path: Path, dataset: str = "fashion_mnist", axes: dict[str, list[Any]] | None = None):
        self.path = path
        self.axes = GRID if axes is None else axes
        self.configs: dict[str, Config] = {}
        preset = preset_values(dataset)
        for point in itertools.product(*self.axes.values()):
            values = preset
            for key, value in zip(self.axes, point, strict=True):
                values = set_key(values, key, value)
            config = validate(Config, values)
            self.configs[config_hash(config)] = config
        (path / "trials").mkdir(parents=True)
        self.spec(name="sweep", dataset=dataset)

    def spec(self, **changes: Any) -> None:
        values = {
            "criterion": "reference",
            "reference": LossWeights().model_dump(),
            "axes": self.axes,
            "trials": list(self.configs),
        }
        file = self.path / "spec.yaml"
        values |= yaml.safe_load(file.read_text()) if file.exists() else {}
        file.write_text(yaml.safe_dump(values | changes, sort_keys=False))

    def trial(self, seed: int = 0, **lambdas: float) -> str:
        """Hash of the trial with these loss weights; those not named are at their default."""
        wanted = LossWeights(**lambdas).model_dump()
        for name, config in self.configs.items():
            if config.seed == seed and config.loss.model_dump(include=set(wanted)) == wanted:
                return name
        raise KeyError(lambdas)

    def start(self, trial: str) -> Path:
        folder = self.path / "trials" / trial
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(as_yaml(self.configs[trial]))
        return folder

    def finish(
        self,
        trial: str,
        acc: float | None = 0.6,
        validation: dict[str, float] | None = None,
        warnings: tuple[str, ...] = (),
        **changes: Any,
    ) -> Path:
        folder, config = self.start(trial), self.configs[trial]
        terms = {"contrastive": 5.0, "component_entropy": -4.0, "instance": 0.5, "push": -0.9, "pull": 0.7}
        record = {
            "trial": trial,
            "base": base_hash(config),
            "status": "finished",
            "epochs": config.train.epochs,
            "seconds": 321.5,
            "training": terms,
            "validation": terms | (validation or {}),
            "scores": {
                "mixem": scores(acc),
                "kmeans": scores(acc),
                "argmax": scores(None if acc is None else acc * 0.9),
            },
            "warnings": list(warnings),
            "provenance": PROVENANCE,
        }
        (folder / "result.json").write_text(json.dumps(record | changes))
        (folder / "weights.safetensors").write_bytes(f"weights of {trial}".encode())
        self.base(config, acc is not None)
        return folder

    def embed(self, trial: str, labels: bool = True, images: bool = True, seed: int = 0) -> Path:
        """The embedding of 60 test images, three classes and four components, and examples of them.

        Class 0 lies in component 2, class 1 in components 0 and 1, class 2 in 1 but for one image in 3.
        """
        folder, random = self.path / "trials" / trial, np.random.default_rng(seed)
        classes = np.repeat([0, 1, 2], 20).astype(np.int16)
        component = np.array([2] * 20 + [0] * 12 + [1] * 8 + [1] * 19 + [3])
        p = 0.7 * np.eye(4)[component] + 0.075
        features = np.eye(4)[component] + 0.1 * random.normal(size=(60, 4))
        arrays = {"features": features.astype(np.float16), "p": p.astype(np.float16), "clusters": component}
        np.savez(folder / "embedding.npz", **arrays | ({"labels": classes} if labels else {}))  # type: ignore[arg-type]
        if images:
            pixels = np.repeat(np.arange(60, dtype=np.uint8), 27).reshape(60, 3, 3, 3)  # every image is its number
            positions = random.permutation(60).astype(np.int32)
            names = np.array(["cat", "dog", "$2 bill"] if labels else [], dtype=np.str_)
            np.savez(folder / "examples.npz", positions=positions, images=pixels[positions], class_names=names)
        return folder

    def base(self, config: Config, labels: bool = True) -> None:
        folder = self.path / "base" / base_hash(config)
        folder.mkdir(parents=True, exist_ok=True)
        record = {
            "base": folder.name,
            "epochs": config.pretrain.epochs,
            "seconds": 900,
            "scores": {
                "simclr_kmeans": scores(0.645 + 0.01 * config.seed if labels else None),
                "pixel_kmeans": scores(0.475 if labels else None),
            },
            "provenance": PROVENANCE,
        }
        (folder / "result.json").write_text(json.dumps(record))

    def fail(self, trial: str, reason: str = "push became NaN") -> Path:
        folder = self.start(trial)
        (folder / "failed.json").write_text(json.dumps({"trial": trial, "reason": reason, "epoch": 7}))
        return folder

    def stop(self, trial: str) -> Path:
        folder = self.start(trial)
        record = {"trial": trial, "reason": "stopped by asha at epoch 3", "epoch": 3, "validation": {}}
        (folder / "stopped.json").write_text(json.dumps(record))
        return folder

    def finish_all(self, labels: bool = True, skip: tuple[str, ...] = ()) -> "RunBuilder":
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
