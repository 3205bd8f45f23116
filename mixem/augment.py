"""SimCLR's random augmentation of a batch, on the batch's device (paper section 5).

RandomResizedCrop, horizontal flip, ColorJitter, grayscale, Gaussian blur, normalisation: torchvision's pipeline and
distributions in one batched call, with separate random parameters for every image, drawn from an explicit generator.
torchvision draws one set of parameters per batch, or has to be called image by image, which keeps many cores busy to
feed one GPU. Images stay float32 from the crop on; torchvision on PIL images rounds to 8 bits between the operations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mixem import color
from mixem.config import AugmentConfig, Config, DataConfig
from mixem.runtime import to_device

CROP_ATTEMPTS = 10
"""Number of boxes that RandomResizedCrop tries before it falls back to a central one."""
MAX_PIECE_VALUES = 800_000
"""A CPU augments a batch in pieces of at most this many values, which stay in its cache."""


@dataclass(frozen=True)
class AugmentParameters:
    """The random parameters of N images. If None, the operation is switched off."""

    boxes: Tensor
    """(N, 4) int64: top, left, height, width of the crop in pixels."""
    flip: Tensor | None
    """(N,) bool: whether to mirror left and right."""
    order: Tensor
    """(N, R) int64: jitter operations of each image, first to last (`mixem.color.color_jitter`). R is the number of
    operations that are switched on; an image without jitter has color.NO_OPERATION in all R rounds."""
    factors: Tensor
    """(N, 4) float32: brightness, contrast, saturation and hue factors."""
    gray: Tensor | None
    """(N,) bool: whether to turn gray."""
    sigma: Tensor | None
    """(N,) float32: standard deviation of the blur in pixels; 0 for no blur."""

    def __getitem__(self, images: slice) -> "AugmentParameters":
        """The parameters of a slice of the images."""
        return self._map(lambda values: values[images])

    def to(self, device: torch.device) -> "AugmentParameters":
        """The same parameters on another device, without waiting for it (`mixem.runtime.to_device`)."""
        return self._map(lambda values: to_device(values, device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "AugmentParameters":
        fields: dict[str, Any] = {k: None if v is None else function(v) for k, v in vars(self).items()}
        return AugmentParameters(**fields)


class SimCLRAugment:
    """Random views of a batch of images: `SimCLRAugment(config)(images, generator)`.

    A call draws parameters (`draw`) and applies them (`apply`). The same configuration, batch shape, device and
    generator state give the same bits. Nothing waits for a GPU.

    Args:
        config: `augment` gives the operations' probabilities and ranges; `data` gives the channels, the size of a view,
            mean and standard deviation.
    """

    def __init__(self, config: Config) -> None:
        self._augment, self._data = config.augment, config.data
        self._strengths = _jitter_strengths(config)
        self._grayscale = config.augment.grayscale if config.data.channels == 3 else 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One random view of every image.

        Args:
            images: (N, C, H, W) uint8; H and W need not be the size of a view.
            generator: on the CPU, so that every device gets the same parameters; its state advances.

        Returns:
            (N, C, S, S) float32, normalised, with S = data.image_size.

        Raises:
            ValueError: the images are not (N, data.channels, H, W) uint8.
        """
        _check(images, self._data)
        height, width = images.shape[2:]
        return self.apply(images, self.draw(len(images), (height, width), generator).to(images.device))

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> AugmentParameters:
        """Draw parameters for `n` images of `size` (height, width), on the generator's device."""
        augment = self._augment
        boxes = _draw_boxes(n, size, augment, generator)
        flip = _bernoulli(n, augment.flip, generator) if augment.flip else None
        order, factors = _draw_jitter(n, self._strengths, augment.jitter_p, generator)
        gray = _bernoulli(n, self._grayscale, generator) if self._grayscale else None
        sigma = None
        if augment.blur:
            sigma = _uniform((n,), augment.blur_sigma, generator) * _bernoulli(n, augment.blur, generator)
        return AugmentParameters(boxes, flip, order, factors, gray, sigma)

    def apply(self, images: Tensor, parameters: AugmentParameters) -> Tensor:
        """Make the views of `images` that `parameters`, on their device, describe; the rest as in `__call__`.

        A CPU works on pieces of the batch, one after the other, which changes no bits.
        """
        _check(images, self._data)
        length = self._piece_length(images)
        if len(images) <= length:
            return self._apply(images, parameters)
        pieces = [slice(start, start + length) for start in range(0, len(images), length)]
        return torch.cat([self._apply(images[piece], parameters[piece]) for piece in pieces])

    def _piece_length(self, images: Tensor) -> int:
        """The number of images to augment at once: all of them on a GPU and in compiled code."""
        if not color.runs_eagerly_on_cpu(images):
            return len(images)
        return max(1, MAX_PIECE_VALUES // (self._data.channels * self._data.image_size**2))

    def _apply(self, images: Tensor, parameters: AugmentParameters) -> Tensor:
        views = resized_crop(_to_float(images), parameters.boxes, parameters.flip, self._data.image_size)
        views = color.color_jitter(views, parameters.order, parameters.factors)
        if parameters.gray is not None:
            views = color.apply_where(parameters.gray, color.rgb_to_grayscale, views)
        if parameters.sigma is not None:
            blur = partial(color.gaussian_blur, kernel_size=self._augment.blur_kernel)
            views = color.apply_where(parameters.sigma > 0, blur, views, parameters.sigma)
        return _standardise_(views, self._data)


def normalise(images: Tensor, data: DataConfig) -> Tensor:
    """Normalise images without augmentation, for scoring: (x / 255 - data.mean) / data.std by channel.

    Args:
        images: (N, C, H, W) uint8.
        data: channels, mean and standard deviation.

    Returns:
        (N, C, H, W) float32.

    Raises:
        ValueError: the images are not (N, data.channels, H, W) uint8.
    """
    _check(images, data)
    return _standardise_(_to_float(images), data)


def resized_crop(images: Tensor, boxes: Tensor, flip: Tensor | None, size: int) -> Tensor:
    """Crop each image to its box, resize the crop to (size, size), and mirror it where `flip` is True: one resampling.

    Bilinear without antialiasing, which makes no difference for boxes of at most `size` pixels a side. Equals
    `torchvision.transforms.v2.functional.resized_crop(antialias=False)`: pixels outside the box have no influence.

    Args:
        images: (N, C, H, W) float32.
        boxes: (N, 4) int64: top, left, height, width in pixels.
        flip: (N,) bool. If None, no image is mirrored.
        size: side of the result in pixels.

    Returns:
        (N, C, size, size) float32.
    """
    height, width = images.shape[2:]
    top, left, box_height, box_width = boxes.to(images.dtype)[:, :, None].unbind(1)
    centres = torch.arange(size, device=images.device) + 0.5
    mirrored = centres if flip is None else torch.where(flip[:, None], size - centres, centres)
    y = _sampling_positions(centres, top, box_height, size) * 2 / height - 1
    x = _sampling_positions(mirrored, left, box_width, size) * 2 / width - 1
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)]).movedim(0, 3)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _sampling_positions(centres: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where in the image the pixels of a view are sampled, (N, size): never beyond the box's outer pixel centres."""
    inside = (centres * (length / size)).clamp(min=0.5)
    return start + torch.minimum(inside, length - 0.5)


def _draw_boxes(n: int, size: tuple[int, int], augment: AugmentConfig, generator: torch.Generator) -> Tensor:
    """RandomResizedCrop's boxes, (n, 4) int64: the first candidate that fits into the image, or else a central box."""
    image_height, image_width = size
    shape, (low, high) = (n, CROP_ATTEMPTS), augment.ratio
    area = image_height * image_width * _uniform(shape, augment.scale, generator)
    ratio = _uniform(shape, (math.log(low), math.log(high)), generator).exp_()
    heights, widths = (area / ratio).sqrt_().round_(), (area * ratio).sqrt_().round_()
    fits = (heights > 0) & (heights <= image_height) & (widths > 0) & (widths <= image_width)
    first = fits.int().argmax(1, keepdim=True)
    height, width = heights.gather(1, first), widths.gather(1, first)
    top, left = _uniform((n, 2), (0, 1), generator).chunk(2, 1)
    top = (top * (image_height - height + 1)).floor_()
    left = (left * (image_width - width + 1)).floor_()

    boxes = torch.cat([top, left, height, width], 1)
    none_fits = ~fits.any(1)
    for column, value in zip(boxes.unbind(1), _central_box(size, augment.ratio), strict=True):
        column.masked_fill_(none_fits, value)
    return boxes.long()


def _central_box(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """RandomResizedCrop's fallback: the largest central box whose width / height is within `ratio`."""
    (height, width), (low, high) = size, ratio
    box_height, box_width = size
    if width < low * height:
        box_height = round(width / low)
    elif width > high * height:
        box_width = round(height * high)
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _jitter_strengths(config: Config) -> tuple[float, ...]:
    """Strengths of brightness, contrast, saturation and hue; 0 where an operation cannot change an image."""
    if config.augment.jitter_p == 0:
        return (0.0, 0.0, 0.0, 0.0)
    brightness, contrast, saturation, hue = config.augment.jitter
    return (brightness, contrast, saturation, hue) if config.data.channels == 3 else (brightness, contrast, 0, 0)


def _draw_jitter(n: int, strengths: tuple[float, ...], p: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """ColorJitter's order (n, R) and factors (n, 4), as in `AugmentParameters`."""
    *blends, hue = strengths
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in blends]
    factors = torch.stack([_uniform((n,), limits, generator) for limits in [*ranges, (-hue, hue)]], 1)
    keys = _uniform((n, 4), (0, 1), generator)
    for operation, strength in enumerate(strengths):
        if strength == 0:
            keys[:, operation].fill_(2)  # sorts last, and is cut off
    order = keys.argsort(1)[:, : sum(strength > 0 for strength in strengths)]
    return order.masked_fill(~_bernoulli(n, p, generator)[:, None], color.NO_OPERATION), factors


def _uniform(shape: tuple[int, ...], limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    return torch.empty(shape, device=generator.device).uniform_(*limits, generator=generator)


def _bernoulli(n: int, p: float, generator: torch.Generator) -> Tensor:
    return _uniform((n,), (0, 1), generator) < p


def _to_float(images: Tensor) -> Tensor:
    return images.float().div_(255)


def _standardise_(images: Tensor, data: DataConfig) -> Tensor:
    """(x - mean) / std by channel, in place. By Python numbers: copying a tensor of them to a GPU would be a wait."""
    for channel, mean, std in zip(images.unbind(1), data.mean, data.std, strict=True):
        channel.sub_(mean).div_(std)
    return images


def _check(images: Tensor, data: DataConfig) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != data.channels:
        raise ValueError(f"images are (N, {data.channels}, H, W) uint8, not {tuple(images.shape)} {images.dtype}")
