"""SimCLR's random augmentation of a batch, on the batch's device (paper section 5).

RandomResizedCrop, horizontal flip, ColorJitter, grayscale, Gaussian blur, normalisation: torchvision's pipeline and
distributions, but one batched call with random parameters of its own for every image, drawn from an explicit
generator. torchvision's own draw one set of parameters per batch, or go image by image, which keeps many cores busy for
a GPU. Images stay float32 from the crop on; torchvision on PIL images rounds to 8 bits between the operations.
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
"""Boxes that RandomResizedCrop tries before it falls back to the centre."""
CPU_PIECE = 800_000
"""A CPU augments a batch in pieces of about this many values, which stay in its cache."""


@dataclass(frozen=True)
class AugmentParameters:
    """The random parameters of N images. None: the operation is switched off."""

    boxes: Tensor
    """(N, 4) int64: top, left, height, width of the crop in pixels."""
    flip: Tensor | None
    """(N,) bool: mirror left and right."""
    order: Tensor
    """(N, R) int64: jitter operations of each image, first to last (`mixem.color.color_jitter`). R counts the
    operations that are switched on; an image without jitter has color.NO_OPERATION throughout."""
    factors: Tensor
    """(N, 4) float32: brightness, contrast, saturation and hue factors."""
    gray: Tensor | None
    """(N,) bool: turn gray."""
    sigma: Tensor | None
    """(N,) float32: standard deviation of the blur in pixels; 0: no blur."""

    def __getitem__(self, images: slice | Tensor) -> "AugmentParameters":
        """The parameters of some of the images: a slice of them, or those with these numbers."""
        return self._each(lambda values: values[images])

    def to(self, device: torch.device) -> "AugmentParameters":
        """The same on another device, without a wait for it (`mixem.runtime.to_device`)."""
        return self._each(lambda values: to_device(values, device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "AugmentParameters":
        values: dict[str, Any] = {k: None if v is None else change(v) for k, v in vars(self).items()}
        return AugmentParameters(**values)


class SimCLRAugment:
    """Random views of a batch of images: `SimCLRAugment(config)(images, generator)`.

    Calling it draws parameters and applies them; `draw` and `apply` do one each. The same configuration, batch shape,
    device and generator state give the same bits. Nothing waits for a GPU.

    Args:
        config: `augment` says what is drawn, `data` the channels, the size of a view, mean and standard deviation.
    """

    def __init__(self, config: Config) -> None:
        self._augment, self._data = config.augment, config.data
        self._strengths = _jitter_strengths(config)
        self._grayscale = config.augment.grayscale if config.data.channels == 3 else 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One random view of every image.

        Args:
            images: (N, C, H, W) uint8; H and W need not be the size of a view.
            generator: on the CPU, to draw the same for every device; its state moves on.

        Returns:
            (N, C, S, S) float32, normalised, with S = data.image_size.

        Raises:
            ValueError: the images are not (N, data.channels, H, W) uint8.
        """
        _check(images, self._data)
        height, width = images.shape[2:]
        return self.apply(images, self.draw(len(images), (height, width), generator).to(images.device))

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> AugmentParameters:
        """Parameters for `n` images of `size` (height, width), on the generator's device."""
        augment = self._augment
        boxes = _draw_boxes(n, size, augment, generator)
        flip = _chance(n, augment.flip, generator) if augment.flip else None
        order, factors = _draw_jitter(n, self._strengths, augment.jitter_p, generator)
        gray = _chance(n, self._grayscale, generator) if self._grayscale else None
        sigma = None
        if augment.blur:
            sigma = _uniform((n,), augment.blur_sigma, generator) * _chance(n, augment.blur, generator)
        return AugmentParameters(boxes, flip, order, factors, gray, sigma)

    def apply(self, images: Tensor, parameters: AugmentParameters) -> Tensor:
        """The views of `images` that `parameters` describe; arguments and result as in `__call__`."""
        _check(images, self._data)
        if color.in_one_piece(images):
            return self._apply(images, parameters)
        pieces = max(1, round(len(images) * self._data.channels * self._data.image_size**2 / CPU_PIECE))
        most = max(1, math.ceil(len(images) / pieces))
        if self._strengths[color.HUE] == 0 or most < color.FEW:
            return self._apply_in_pieces(images, parameters, most)
        sorting = color.turns(parameters.order).argsort()  # hue then shifts slices, and blends leave them out
        views = self._apply_in_pieces(images.index_select(0, sorting), parameters[sorting], most)
        return views.index_select(0, sorting.argsort())

    def _apply_in_pieces(self, images: Tensor, parameters: AugmentParameters, most: int) -> Tensor:
        pieces = [slice(start, start + most) for start in range(0, max(1, len(images)), most)]
        return torch.cat([self._apply(images[piece], parameters[piece]) for piece in pieces])

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
    """Images as they are scored, without augmentation: (x / 255 - data.mean) / data.std by channel.

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
    """Crop each image to its box, resize that to (size, size), and mirror it where `flip` says so: one resampling.

    Bilinear without antialiasing, which for boxes of at most `size` pixels a side is the same as with it. Equals
    `torchvision.transforms.v2.functional.resized_crop(antialias=False)`: pixels outside the box never count.

    Args:
        images: (N, C, H, W) float32.
        boxes: (N, 4) int64: top, left, height, width in pixels.
        flip: (N,) bool or None.
        size: side of the result in pixels.
    """
    height, width = images.shape[2:]
    top, left, box_height, box_width = boxes.to(images.dtype)[:, :, None].unbind(1)
    centres = torch.arange(size, device=images.device) + 0.5
    across = centres if flip is None else torch.where(flip[:, None], size - centres, centres)
    y = _source(centres, top, box_height, size) * 2 / height - 1
    x = _source(across, left, box_width, size) * 2 / width - 1
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)]).movedim(0, 3)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _source(centres: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where in the image the pixels of a view lie, (N, size); never beyond the centres of the box's outer pixels."""
    inside = (centres * (length / size)).clamp(min=0.5)
    return start + torch.minimum(inside, length - 0.5)


def _draw_boxes(n: int, size: tuple[int, int], augment: AugmentConfig, generator: torch.Generator) -> Tensor:
    """RandomResizedCrop's boxes, (n, 4) int64: the first of ten candidates that fits, else a central box."""
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
    """RandomResizedCrop's fall-back: the largest central box whose width / height is within `ratio`."""
    (height, width), (low, high) = size, ratio
    box_height, box_width = size
    if width < low * height:
        box_height = round(width / low)
    elif width > high * height:
        box_width = round(height * high)
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _jitter_strengths(config: Config) -> tuple[float, ...]:
    """Brightness, contrast, saturation, hue; 0 where an operation can change nothing."""
    if config.augment.jitter_p == 0:
        return (0.0, 0.0, 0.0, 0.0)
    brightness, contrast, saturation, hue = config.augment.jitter
    return (brightness, contrast, saturation, hue) if config.data.channels == 3 else (brightness, contrast, 0, 0)


def _draw_jitter(n: int, strengths: tuple[float, ...], p: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """ColorJitter's order (n, R) and factors (n, 4)."""
    *blends, hue = strengths
    ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in blends]
    factors = torch.stack([_uniform((n,), limits, generator) for limits in [*ranges, (-hue, hue)]], 1)
    keys = _uniform((n, 4), (0, 1), generator)
    for operation, strength in enumerate(strengths):
        if strength == 0:
            keys[:, operation].fill_(2)  # sorted behind the others, and cut off
    order = keys.argsort(1)[:, : sum(strength > 0 for strength in strengths)]
    return order.masked_fill(~_chance(n, p, generator)[:, None], color.NO_OPERATION), factors


def _uniform(shape: tuple[int, ...], limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    return torch.empty(shape, device=generator.device).uniform_(*limits, generator=generator)


def _chance(n: int, p: float, generator: torch.Generator) -> Tensor:
    return _uniform((n,), (0, 1), generator) < p


def _to_float(images: Tensor) -> Tensor:
    return images.float().div_(255)


def _standardise_(images: Tensor, data: DataConfig) -> Tensor:
    """(x - mean) / std by channel, in place. Python numbers: a tensor made of them would make a GPU wait."""
    for channel, mean, std in zip(images.unbind(1), data.mean, data.std, strict=True):
        channel.sub_(mean).div_(std)
    return images


def _check(images: Tensor, data: DataConfig) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != data.channels:
        raise ValueError(f"images are (N, {data.channels}, H, W) uint8, not {tuple(images.shape)} {images.dtype}")
