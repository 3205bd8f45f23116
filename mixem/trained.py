"""Trained models: loading one, and what it makes of pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mixem.checkpoint import load_tensors
from mixem.config import Config
from mixem.data.opening import max_megapixels
from mixem.data.picture import read_picture, square_of
from mixem.errors import CheckpointError, ConfigError, DataError, MixemError
from mixem.experiment import load_weights
from mixem.files import run_path
from mixem.model import AnyModel, MixtureModel, SimCLR, build
from mixem.records import TrialRecord
from mixem.run import Run, StageFolder
from mixem.runtime import numerics
from mixem.scoring.arrays import Features
from mixem.scoring.assignments import CENTRES, Assignments, assign
from mixem.scoring.clustering import Embedding, embed
from mixem.settings import load_config

Picture = Path | str | Image.Image | NDArray[np.uint8] | Tensor
"""A path, a PIL image, or uint8: an array (H, W[, C]) or a tensor ([C, ]H, W)."""
Pictures = Sequence[Picture] | NDArray[np.uint8] | Tensor | Path | Image.Image
"""Several of them, arrays and tensors perhaps as one with a first axis N; or a single path or PIL image."""


class TrainedBaseline(NamedTuple):
    """A base encoder with its trained weights, on the CPU, and the configuration that it was trained with."""

    config: Config
    model: SimCLR


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model with its trained weights and the centres of its clusters, and the configuration it was trained with.

    It unpacks to `config, model`.
    """

    config: Config
    model: MixtureModel
    """On the CPU, until it is used."""
    weights_file: Path = field(repr=False)
    kept_centres: Features | None = field(repr=False)
    """(K, F). If None, an earlier version trained it."""

    def __iter__(self) -> Iterator[Config | MixtureModel]:
        yield from (self.config, self.model)

    @property
    def centres(self) -> Features:
        """The centres (K, F) of its clusters. Raises CheckpointError for a model that keeps none."""
        if self.kept_centres is None:
            raise CheckpointError(f"{self.weights_file}: has no centres, an earlier version made it; train it again")
        return self.kept_centres

    def embed(self, pictures: Pictures) -> Features:
        """L2-normalised features (N, F) float32. Raises as `images`."""
        return self.see(self.images(pictures)).features

    def predict(self, pictures: Pictures) -> Assignments:
        """Where pictures belong: cluster, component, probability, distance, margin, (N,) each. Raises as `images`."""
        return assign(self.see(self.images(pictures)), self.centres)

    def see(self, images: Tensor) -> Embedding:
        """Features and mixing coefficients of images (N, C, S, S) uint8, computed as in training."""
        with numerics(self.config.train.threads, self.config.runtime.deterministic):
            return embed(self.model, images, self.config)

    def images(self, pictures: Pictures) -> Tensor:
        """Pictures as the model takes them, (N, C, S, S) uint8: their centre squares, resized.

        Raises DataError for a file that cannot be read, or arrays of another type or shape.
        """
        several = [pictures] if isinstance(pictures, Path | str | Image.Image) else pictures
        images = [self.image(picture) for picture in several]
        data = self.config.data
        nothing = torch.empty(0, data.channels, data.image_size, data.image_size, dtype=torch.uint8)
        return torch.stack(images) if images else nothing

    def image(self, picture: Picture) -> Tensor:
        """One picture (C, S, S) uint8. Raises as `images`."""
        if isinstance(picture, Path | str):
            read = read_picture(Path(picture), self.config.data)
            if read is None:
                raise DataError(f"{picture}: above {max_megapixels():,.0f} megapixels")
            return read.pixels
        if isinstance(picture, Tensor):
            picture = (picture.permute(1, 2, 0) if picture.ndim == 3 else picture).cpu().numpy()
        if not isinstance(picture, Image.Image):
            picture = _as_picture(picture)
        try:
            return square_of(picture, self.config.data)
        except ValueError as error:
            raise DataError(f"a picture cannot be used ({error})") from None


def _as_picture(pixels: NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))):
        raise DataError(f"pixels {pixels.dtype} {pixels.shape}: uint8 (H, W), (H, W, 1) or (H, W, 3) is needed")
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def load_model(folder: Path | str, overrides: Iterable[str] = ()) -> TrainedModel:
    """The model in a trial's folder, or in one that holds best.yaml and best.safetensors, such as a run folder.

    Raises ConfigError for a folder that is none of these, CheckpointError for a run folder with nothing to pick yet,
    and for weights that are absent, damaged or do not fit the configuration.
    """
    trial, exported = StageFolder(run_path(folder), TrialRecord), Run.at(folder).best_files
    config_file, weights_file = exported if exported[0].exists() else (trial.config_file, trial.weights_file)
    if not config_file.exists():
        raise _without_model(folder)
    config = load_config(config_file, overrides)
    tensors = load_tensors(weights_file)[0] if weights_file == exported[1] else load_weights(trial)
    centres = tensors.pop(CENTRES, None)
    model = _with_weights(MixtureModel, config, tensors, weights_file)
    return TrainedModel(config, model, weights_file, None if centres is None else centres.numpy())


def _without_model(folder: Path | str) -> MixemError:
    """The error of a folder without a configuration: of a run that has nothing to pick yet, or of another kind."""
    problem = f"{folder}: holds neither best.yaml nor config.yaml;"
    if Run.at(folder).is_there:
        return CheckpointError(f"{problem} `mixem report {folder}` writes them once a trial can be picked")
    return ConfigError(f"{problem} a run folder, a trial's in it, or what `mixem export` has written is needed")


def load_baseline(folder: Path | str, overrides: Iterable[str] = ()) -> TrainedBaseline:
    """The base encoder in a folder that holds baseline.yaml and baseline.safetensors. Raises as `load_model`."""
    config_file, weights_file = Run.at(folder).baseline_files
    config = load_config(config_file, overrides)
    return TrainedBaseline(config, _with_weights(SimCLR, config, load_tensors(weights_file)[0], weights_file))


def _with_weights(kind: type[AnyModel], config: Config, tensors: Mapping[str, Tensor], file: Path) -> AnyModel:
    model = build(kind, config.model, config.data.channels, seed=0)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{file}: does not fit the configuration ({reason})") from None
    return model
