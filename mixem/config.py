"""One experiment's configuration: frozen, validated models that go to YAML and back unchanged.

Defaults are the paper's common values; what differs by dataset stands in presets/<dataset>.yaml.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _reject_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


def _positive_zero(value: float) -> float:
    return value + 0.0  # -0.0 equals 0.0 but would be hashed as another value


def _absolute(root: str) -> str:
    try:
        root.encode()
    except UnicodeEncodeError:
        raise ValueError("a name that is not UTF-8 cannot be in a configuration; give a link to the folder") from None
    return root if root.startswith("~") else str(Path(root).absolute())


def _as_hex(value: Any) -> str:
    """A colour as #rrggbb: one colour has one hash."""
    from PIL import ImageColor  # few configurations name a colour

    name = value.lower() if isinstance(value, str) else ""
    if name not in ImageColor.colormap and not re.fullmatch("#([0-9a-f]{3}){1,2}", name):
        raise ValueError("a colour is needed, such as white, or '#ffffff' in quotes")
    return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(name))


Number = Annotated[float, BeforeValidator(_reject_bool)]
Weight = Annotated[float, Field(ge=0), BeforeValidator(_reject_bool), AfterValidator(_positive_zero)]
Positive = Annotated[float, Field(gt=0), BeforeValidator(_reject_bool)]
Probability = Annotated[float, Field(ge=0, le=1), BeforeValidator(_reject_bool), AfterValidator(_positive_zero)]
HueShift = Annotated[float, Field(ge=0, le=0.5), BeforeValidator(_reject_bool), AfterValidator(_positive_zero)]
Count = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(_reject_bool)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9), BeforeValidator(_reject_bool)]
Colour = Annotated[str, BeforeValidator(_as_hex)]
Seed = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_reject_bool)]

DatasetName = Literal[
    "digits", "fashion_mnist", "cifar10", "cifar100_20", "stl10", "image_folder", "arrays", "synthetic"
]
OWN_DATA = ("image_folder", "arrays")
"""Datasets of which each user has one's own."""
TrainingSplit = Literal["train", "train+unlabeled", "train+test"]
StartLabels = Literal["none", "used", "unknown"]
"""Whether the encoder that stage 1 starts from was trained with labels."""
Criterion = Literal["own", "contrastive", "reference"]
"""The validation losses by which a configuration can be picked (paper section 7)."""
TieBreak = Literal["agreement", "smaller"]
"""What decides where the loss cannot tell configurations apart: how well their clusters agree, or the lowest mean."""


class Section(BaseModel):
    """Base of every part of the configuration: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class DataConfig(Section):
    """Which images, and how they are read."""

    name: DatasetName
    """The dataset."""
    root: Annotated[str, AfterValidator(_absolute)] | None = None
    """Folder that holds the dataset's files, or the file of arrays, kept as an absolute path. If None, the default
    data folder. Not part of the hash."""
    channels: Annotated[Literal[1, 3], BeforeValidator(_reject_bool)] = 3
    """1 for gray images, 3 for RGB."""
    image_size: Annotated[int, Field(ge=8, le=512), BeforeValidator(_reject_bool)] = 32
    """Side in pixels; images of another size are resized when they are read."""
    background: Colour = "#ffffff"
    """What a folder's pictures show where they are transparent: a colour's name, or '#rrggbb' in quotes."""
    mean: tuple[Probability, ...] = (0.485, 0.456, 0.406)
    """Normalisation mean per channel, on the scale [0, 1] (default: ImageNet's)."""
    std: tuple[Positive, ...] = (0.229, 0.224, 0.225)
    """Normalisation standard deviation per channel."""
    limit: Count | None = None
    """Use at most this many images of each training split. If None, all. All are read: the probes see them."""
    split_seed: Seed = 0
    """Seed of the subset and of the division into training and validation images."""

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        for key in ("mean", "std"):
            if len(getattr(self, key)) != self.channels:
                raise ValueError(f"{key} needs {self.channels} numbers, one for each channel")
        return self


class AugmentConfig(Section):
    """SimCLR's random augmentation (paper section 5). A probability of 0 switches an operation off."""

    scale: tuple[Positive, Positive] = (0.08, 1.0)
    """RandomResizedCrop: range of the crop's share of the area."""
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """RandomResizedCrop: range of width / height."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    jitter: tuple[Weight, Weight, Weight, HueShift] = (0.8, 0.8, 0.8, 0.2)
    """ColorJitter strengths: brightness, contrast, saturation, hue."""
    jitter_p: Probability = 0.8
    """Probability that the jitter is applied."""
    grayscale: Probability = 0.2
    """Probability of turning an image gray."""
    blur: Probability = 0.5
    """Probability of a Gaussian blur."""
    blur_kernel: Annotated[int, Field(ge=1, le=31), BeforeValidator(_reject_bool)] = 3
    """Side of the blur kernel in pixels, odd."""
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """Range of the blur's standard deviation in pixels."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for key in ("scale", "ratio", "blur_sigma"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key} runs from low to high, not {low} to {high}")
        if self.scale[1] > 1:
            raise ValueError(f"scale ends at 1 at most, not {self.scale[1]}")
        if self.blur_kernel % 2 == 0:
            raise ValueError(f"blur_kernel has to be odd, not {self.blur_kernel}")
        return self


class ModelConfig(Section):
    """The encoder and its heads (paper section 2)."""

    encoder: Literal["resnet18", "resnet34", "resnet_small"] = "resnet18"
    """`resnet18` is the paper's; `resnet_small` (three stages of one block) makes CPU runs useful."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """3x3 stride 1 without pooling, or 7x7 stride 2 with max-pooling (STL10)."""
    width: Count | None = None
    """Channels of the first stage. If None, 64; 32 for resnet_small."""
    start: str | None = None
    """The encoder that stage 1 starts from: a .safetensors file of weights, ours or torchvision's, the folder that
    holds it, or `imagenet`, torchvision's own. Its stem, channels, mean and std apply unless they are set. If None,
    random weights. Not part of the hash."""
    start_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """The SHA-256 of that file, of imagenet its first 8 digits; filled in where it is not given."""
    start_labels: StartLabels = "none"
    """Whether that encoder was trained with labels; filled in. Not part of the hash."""
    components: Annotated[int, Field(ge=2), BeforeValidator(_reject_bool)] = 10
    """Mixture components M, also the number of clusters K: the number of classes looked for."""
    embedding_dim: Count = 32
    """Length of each head's embedding."""


class StageConfig(Section):
    """How one of the two stages trains (paper section 5)."""

    epochs: CountOrZero
    """Passes over the training images. Stage 1 may have 0 where it starts from an encoder: that is used as it is."""
    batch_size: Annotated[int, Field(ge=2), BeforeValidator(_reject_bool)] = 512
    """Images per step; each gives two views. The last, incomplete batch of an epoch is dropped."""
    learning_rate: Positive = 5e-4
    """Adam's learning rate at the start."""
    weight_decay: Weight = 1e-5
    """Adam's L2 penalty."""
    hold_epochs: CountOrZero = 10
    """Epochs at the full rate before the cosine to zero begins; 0: a plain cosine."""
    split: TrainingSplit = "train"
    """The images it trains on, validation images apart."""
    validation: Annotated[float, Field(gt=0, lt=1), BeforeValidator(_reject_bool)] = 0.1
    """Share of that split kept for validation."""
    threads: CountOrZero = 0
    """CPU threads; 0: as many as there are cores. Part of bit-for-bit equality on a CPU, not of the hash."""


class LossWeights(Section):
    """L = contrastive + l1 component entropy + l2 instance + l3 push + l4 pull (paper section 3)."""

    lambda1: Weight = 1.0
    """Weight of the component entropy."""
    lambda2: Weight = 0.1
    """Weight of the instance-conditioned term."""
    lambda3: Weight = 0.05
    """Weight of push."""
    lambda4: Weight = 0.1
    """Weight of pull."""

    def total(self, terms: Mapping[str, float]) -> float:
        """The weighted sum of recorded raw terms; lower is better."""
        return float(weighted_sum(terms, self))


TERM_WEIGHTS = {"component_entropy": "lambda1", "instance": "lambda2", "push": "lambda3", "pull": "lambda4"}
"""The weight of every loss term but the contrastive one, whose weight is 1."""


def weighted_sum(terms: Mapping[str, Any], weights: Any) -> Any:
    """L = contrastive + l1 component entropy + l2 instance + l3 push + l4 pull (paper section 3).

    The same for tensors, numbers and pandas.Series; `weights` has the attributes lambda1 to lambda4.
    """
    total = terms["contrastive"]
    for term, weight in TERM_WEIGHTS.items():
        total = total + getattr(weights, weight) * terms[term]
    return total


def weights_of(criterion: Criterion, reference: LossWeights) -> LossWeights | None:
    """The weights of a criterion, the same for every trial. If None, it is `own`, whose weights differ."""
    if criterion == "contrastive":
        return LossWeights(lambda1=0, lambda2=0, lambda3=0, lambda4=0)
    return reference if criterion == "reference" else None


class LossConfig(LossWeights):
    """The loss weights and the two choices inside the terms."""

    temperature: Positive = 0.5
    """Temperature of the contrastive loss, in both stages."""
    instance: Literal["max", "entropy"] = "max"
    """Instance-conditioned term: 1 - max p (the released code) or the entropy of p (the abstract)."""


class ValidationConfig(Section):
    """The fixed images and augmentations on which every trial's raw loss terms are measured."""

    images: Count = 2048
    """At most this many of the validation images."""
    batch_size: Annotated[int, Field(ge=2), BeforeValidator(_reject_bool)] = 512
    """Images per batch; the contrastive loss depends on it, so it is the same for every trial."""
    draws: Count = 4
    """Augmentations of each image; the terms are averaged over them."""
    every: Count = 1
    """Measure every so many epochs; always after the last."""


class EvaluationConfig(Section):
    """How the test split is scored (paper section 6)."""

    restarts: Count = 10
    """Random starts of the K-means that is shown for comparison (the released code takes 50)."""
    normalise: bool = True
    """Normalise the images as in training; false is the released code's way."""


class RuntimeConfig(Section):
    """Where and at what precision it runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a CUDA device where there is one. Not part of the hash."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` takes bf16 autocast where the hardware computes it natively."""
    compile: Literal["auto", True, False] = "auto"
    """torch.compile; `auto` takes it on a CUDA device for a stage of 1,000 steps and more. Not part of the hash."""
    deterministic: bool = False
    """A GPU repeats itself bit for bit, where torch can make it; an operation that cannot is refused by its name. Not
    part of the hash."""
    save_seconds: Weight = 30.0
    """Seconds between two saved states, what a dead worker costs at most; 0: every epoch. Not part of the hash."""


class Config(Section):
    """Everything that determines one run: data, model, both training stages, loss, scoring."""

    seed: Seed = 0
    """Seed of initial weights, batches and augmentations, in both stages."""
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    pretrain: StageConfig = StageConfig(epochs=600)
    """Stage 1: SimCLR."""
    train: StageConfig = StageConfig(epochs=100)
    """Stage 2: MIX'EM."""
    loss: LossConfig = LossConfig()
    validation: ValidationConfig = ValidationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        kernel, size = self.augment.blur_kernel, self.data.image_size
        if self.augment.blur and kernel // 2 >= size:  # the blur reflects the image's edge once
            raise ValueError(f"augment.blur_kernel: {kernel} is not allowed; at most {2 * size - 1} for {size} pixels")
        if not self.train.epochs or not (self.pretrain.epochs or self.model.start):
            stage = "pretrain" if self.train.epochs else "train"
            at_least = "greater than or equal to 1; only stage 1 may have 0, with model.start"
            raise ValueError(f"{stage}.epochs: 0 is not allowed; {at_least}")
        if (self.model.start is None) != (self.model.start_sha256 is None):
            raise ValueError("model.start: its file and its checksum, model.start_sha256, are needed, or neither")
        for stage in ("pretrain", "train"):
            if getattr(self, stage).split == "train+unlabeled" and self.data.name != "stl10":
                raise ValueError(f"{stage}.split: only stl10 has an unlabeled split, not {self.data.name}")
        return self
