"""ColorJitter, grayscale and Gaussian blur on a batch, with separate parameters for every image (paper section 5).

Names, formulas and clamping are torchvision's (`torchvision.transforms.v2.functional` on float images); torchvision
takes one parameter per call, these functions take one per image. Images are (N, C, H, W) float32 in [0, 1]; parameters
are (N,) or (N, k) tensors on the same device. Nothing here is a matrix product or a convolution, so neither autocast
nor TF32 rounds the images, and nothing waits for a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""The operations of ColorJitter, as torchvision numbers them."""
NO_OPERATION = -1
"""Marks the rounds of ColorJitter in which an image takes no operation."""


def color_jitter(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Apply brightness, contrast, saturation and hue to each image, in that image's own order. May change `images`.

    Each round is one batched blend, in which the coefficients choose each image's operation, followed by a hue shift of
    the images that take it in this round. On gray images saturation and hue do nothing.

    Args:
        images: (N, 1 or 3, H, W) float32 in [0, 1].
        order: (N, R) int64; column r holds what each image takes in round r: BRIGHTNESS, CONTRAST, SATURATION,
            HUE or NO_OPERATION.
        factors: (N, 4) float32; columns in the order of those names. The first three are >= 0, 1 leaves the image
            as it is; hue is a part of the colour circle, in [-0.5, 0.5].

    Returns:
        (N, 1 or 3, H, W) float32 in [0, 1].
    """
    colored = images.shape[1] == 3
    blends = (order >= BRIGHTNESS) & (order <= (SATURATION if colored else CONTRAST))
    scale = factors.gather(1, order.clamp(min=0)).masked_fill_(~blends, 1)
    to_mean, to_gray = (1 - scale) * (order == CONTRAST), (1 - scale) * (order == SATURATION)
    for number in range(order.shape[1]):
        _blend_(images, scale[:, number], to_mean[:, number], to_gray[:, number])
        if colored:
            images = apply_where(order[:, number] == HUE, adjust_hue, images, factors[:, HUE])
    return images


def _blend_(images: Tensor, scale: Tensor, to_mean: Tensor, to_gray: Tensor) -> None:
    """Blend in place with black (brightness), the mean gray (contrast) or the gray image (saturation).

    All three are factor * image + (1 - factor) * other. The coefficients are (N,); (1, 0, 0) leaves an image in [0, 1]
    its bits. Each step has at most two operands of unlike shape, which a CPU computes several times faster than three.
    """
    gray = _luma(images)
    mean = gray.mean((1, 2, 3), keepdim=True).mul_(_per_image(to_mean))
    other = mean if images.shape[1] == 1 else gray.mul_(_per_image(to_gray)).add_(mean)
    images.mul_(_per_image(scale)).add_(other).clamp_(0, 1)


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Rotate the hue of (N, 3, H, W) images by `factor` (N,), a part of the colour circle.

    RGB is converted to hue, highest channel and chroma (highest minus lowest channel), and back.
    """
    red, green, blue = images.unbind(1)
    highest = torch.maximum(red, green).maximum(blue)
    lowest = torch.minimum(red, green).minimum(blue)
    chroma = highest - lowest
    not_red, not_green = (highest - red).sign_(), (highest - green).sign_()
    # lerp with a weight of 0 or 1 chooses; on a CPU it takes a tenth of the time of torch.where
    difference = torch.lerp(green - blue, torch.lerp(blue - red, red - green, not_green), not_red)
    third = not_red.addcmul_(not_red, not_green)  # of the circle, by the highest channel: 0 red, 1 green, 2 blue
    tiny = torch.finfo(images.dtype).tiny  # gray pixels have no hue: any will do
    hue = difference.div_(chroma.clamp(min=tiny)).add_(third, alpha=2).div_(6).add_(factor[:, None, None])
    sixths = hue.sub_(hue.floor()).mul_(6)
    shares = (sixths - 3).abs_().sub_(1), 2 - (sixths - 2).abs_(), 2 - (sixths - 4).abs_()
    return torch.stack([share.clamp_(0, 1).mul_(chroma).add_(lowest) for share in shares], 1)


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
    """Apply `operation(images, *parameters)` to the images in `mask` (N,) bool; the others keep their bits.

    A CPU computes these images only, and writes the result into `images`. A GPU and compiled code compute all images
    and pick: the number of images in the mask is a value that a GPU has to be waited for, and that compiled code, whose
    shapes are fixed, cannot depend on.
    """
    if not runs_eagerly_on_cpu(images):
        return torch.where(_per_image(mask), operation(images, *parameters), images)
    index = mask.nonzero()[:, 0]
    selected = [values.index_select(0, index) for values in (images, *parameters)]
    return images.index_copy_(0, index, operation(*selected))


def runs_eagerly_on_cpu(images: Tensor) -> bool:
    """Whether operations on `images` run one by one on a CPU, neither on a GPU nor in compiled code."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
