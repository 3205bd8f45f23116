"""ColorJitter, grayscale and Gaussian blur on a batch, with parameters of its own for every image.

Names, formulas and clamping are torchvision's (`torchvision.transforms.v2.functional` on float images); torchvision
takes one parameter per call, these take one per image. Images are (N, C, H, W) float32 in [0, 1]; parameters are
(N,) or (N, k) tensors on the same device. Nothing here is a matrix product or a convolution, so that neither
autocast nor TF32 rounds the images, and nothing waits for a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""The operations of ColorJitter, as torchvision numbers them."""
NO_OPERATION = -1
"""Stands in the order of operations where an image takes none."""
FEW = 8
"""Fewer images than this are not worth sorting by `turns`."""


def color_jitter(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue of each image in that image's own order. May change `images`.

    Every round is one batched blend, in which each image's operation is a choice of coefficients, and a hue shift
    of the images whose turn it is. On gray images saturation and hue do nothing. A CPU has least to do when the images
    come in the order of `turns`.

    Args:
        images: (N, 1 or 3, H, W) float32 in [0, 1].
        order: (N, R) int64; column r holds what each image takes in round r: BRIGHTNESS, CONTRAST, SATURATION,
            HUE or NO_OPERATION.
        factors: (N, 4) float32; columns in the order of those names. The first three are >= 0, 1 leaves the image
            as it is; hue is a part of the colour circle, in [-0.5, 0.5].
    """
    colored = images.shape[1] == 3
    blends = (order >= BRIGHTNESS) & (order <= (SATURATION if colored else CONTRAST))
    scale = factors.gather(1, order.clamp(min=0)).masked_fill_(~blends, 1)
    to_mean, to_gray = (1 - scale) * (order == CONTRAST), (1 - scale) * (order == SATURATION)
    touched = blends.clone()
    touched[:, :1] = True  # the first round clamps every image: interpolated pixels may lie a little beyond 1
    for number, part in enumerate(_spans(touched)):
        _blend_(images[part], *(_per_image(values[part, number]) for values in (scale, to_mean, to_gray)))
        if colored:
            images = apply_where(order[:, number] == HUE, adjust_hue, images, factors[:, HUE])
    return images


def turns(order: Tensor) -> Tensor:
    """A key (N,) to sort images by: the round in which hue has its turn; without jitter, behind the last."""
    rounds = torch.arange(order.shape[1], device=order.device)
    return ((order == HUE) * rounds + (order == NO_OPERATION)).sum(1)


def _spans(masks: Tensor) -> list[slice]:
    """For each column of `masks` (N, R), the images from its first to its last; without any, none.

    All images where they are few, and where asking would be a wait (see `apply_where`).
    """
    images, columns = masks.shape
    if in_one_piece(masks) or images < FEW:
        return [slice(None)] * columns
    start = masks.int().argmax(0)
    stop = (masks * torch.arange(1, images + 1)[:, None]).amax(0)
    return [slice(*span) for span in zip(start.tolist(), stop.tolist(), strict=True)]


def _blend_(images: Tensor, scale: Tensor, to_mean: Tensor, to_gray: Tensor) -> None:
    """Blend in place with black (brightness), the mean gray (contrast) or the gray image (saturation).

    All three are factor * image + (1 - factor) * other; the coefficients are (N, 1, 1, 1), and (1, 0, 0) leaves an
    image its bits. Each step has at most two operands of unlike shape, which a CPU computes several times faster.
    """
    gray = _luma(images)
    mean = gray.mean((1, 2, 3), keepdim=True).mul_(to_mean)
    other = mean if images.shape[1] == 1 else gray.mul_(to_gray).add_(mean)
    images.mul_(scale).add_(other).clamp_(0, 1)


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue of (N, 3, H, W) images by `factor` (N,), in turns: RGB to hue, value and range, and back."""
    red, green, blue = images.unbind(1)
    high = torch.maximum(red, green).maximum(blue)
    low = torch.minimum(red, green).minimum(blue)
    chroma = high - low
    not_red, not_green = (high - red).sign_(), (high - green).sign_()
    # lerp with a weight of 0 or 1 chooses; on a CPU it takes a tenth of the time of torch.where
    difference = torch.lerp(green - blue, torch.lerp(blue - red, red - green, not_green), not_red)
    third = not_red.addcmul_(not_red, not_green)  # of the circle, by the highest channel: 0 red, 1 green, 2 blue
    tiny = torch.finfo(images.dtype).tiny  # gray pixels have no hue: any will do
    hue = difference.div_(chroma.clamp(min=tiny)).add_(third, alpha=2).div_(6).add_(factor[:, None, None])
    sixths = hue.sub_(hue.floor()).mul_(6)
    shares = (sixths - 3).abs_().sub_(1), 2 - (sixths - 2).abs_(), 2 - (sixths - 4).abs_()
    return torch.stack([share.clamp_(0, 1).mul_(chroma).add_(low) for share in shares], 1)


def rgb_to_grayscale(images: Tensor) -> Tensor:
    """Gray images of the same shape as `images`, (N, 1 or 3, H, W)."""
    return _luma(images).expand_as(images)


def _luma(images: Tensor) -> Tensor:
    """(N, 1, H, W): ITU-R 601 luma of RGB images; gray images as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.chunk(3, 1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur (N, C, H, W) images with a kernel of `kernel_size` (odd) and a sigma (N,) > 0 in pixels; edges reflect."""
    radius = kernel_size // 2
    kernels = _gaussian_kernels(sigma, kernel_size)
    padded = functional.pad(images, [radius] * 4, mode="reflect")
    return _convolve(_convolve(padded, kernels, 2), kernels, 3)


def _gaussian_kernels(sigma: Tensor, kernel_size: int) -> Tensor:
    """torchvision's kernels, (N, kernel_size): softmax of -(x / sigma)^2, x up to (kernel_size - 1) / sqrt(8)."""
    limit = (kernel_size - 1) / 8**0.5
    x = torch.linspace(-limit, limit, kernel_size, device=sigma.device)
    return (x / sigma[:, None]).square_().neg_().softmax(1)


def _convolve(images: Tensor, kernels: Tensor, dim: int) -> Tensor:
    """Convolve each image along `dim` with its own kernel, without padding."""
    size = images.shape[dim] - kernels.shape[1] + 1
    first, *others = kernels.unbind(1)
    total = images.narrow(dim, 0, size) * _per_image(first)
    for offset, weight in enumerate(others, 1):
        total.addcmul_(images.narrow(dim, offset, size), _per_image(weight))
    return total


def apply_where(mask: Tensor, operation: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """`operation(images, *parameters)` for the images in `mask` (N,) bool; the others keep their bits.

    A CPU computes those images only, and writes into `images`; where they lie side by side, it need not gather them. A
    GPU computes all and picks: to know how many there are it would have to wait; and so does compiled code, which needs
    fixed shapes.
    """
    apply = _apply_to_all if in_one_piece(images) else _apply_to_some
    return apply(mask, operation, images, *parameters)


def in_one_piece(images: Tensor) -> bool:
    """Whether a batch is best computed as a whole: on a GPU, and in compiled code."""
    return images.device.type != "cpu" or torch.compiler.is_compiling()


def _apply_to_some(mask: Tensor, operation: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    index = mask.nonzero()[:, 0]
    if not len(index):
        return images
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == len(index):
        part = slice(first, last + 1)
        images[part] = operation(images[part], *(values[part] for values in parameters))
        return images
    some, *theirs = (values.index_select(0, index) for values in (images, *parameters))
    return images.index_copy_(0, index, operation(some, *theirs))


def _apply_to_all(mask: Tensor, operation: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    return torch.where(_per_image(mask), operation(images, *parameters), images)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
