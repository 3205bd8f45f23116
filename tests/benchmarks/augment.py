"""The augmentation of a batch: ours against torchvision on PIL images and on tensors, and kornia.

Run by hand: python tests/benchmarks/augment.py [--threads N] [--device DEVICE] [--out DIR]

On one thread unless told otherwise: PIL's pipeline runs on one core. torchvision's transforms draw parameters once for
a batch, so on tensors too they are called image by image; kornia (left out where it is not installed) draws them for
each image, but its order of colour operations once for a batch.
"""

import importlib.util
from collections.abc import Callable

import torch
from measure import Report
from torch import Tensor, nn
from torchvision.transforms import v2

from mixem.augment import SimCLRAugment
from mixem.config import Config
from mixem.settings import preset

BATCH = 512


def torchvision_pipeline(config: Config, first: list[nn.Module]) -> Callable[..., Tensor]:
    augment, data = config.augment, config.data
    return v2.Compose(
        [
            v2.RandomResizedCrop(data.image_size, augment.scale, augment.ratio),
            v2.RandomHorizontalFlip(augment.flip),
            v2.RandomApply([v2.ColorJitter(*augment.jitter)], augment.jitter_p),
            v2.RandomGrayscale(augment.grayscale if data.channels == 3 else 0),
            v2.RandomApply([v2.GaussianBlur(augment.blur_kernel, augment.blur_sigma)], augment.blur),
            *first,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(data.mean, data.std),
        ]
    )


def kornia_pipeline(config: Config) -> Callable[[Tensor], Tensor]:
    from kornia import augmentation as K

    augment, data = config.augment, config.data
    size, (brightness, contrast, saturation, hue) = data.image_size, augment.jitter
    operations: list[nn.Module] = [
        K.RandomResizedCrop((size, size), augment.scale, augment.ratio),
        K.RandomHorizontalFlip(p=augment.flip),
    ]
    if data.channels == 3:
        operations.append(K.ColorJitter(brightness, contrast, saturation, hue, p=augment.jitter_p))
        operations.append(K.RandomGrayscale(p=augment.grayscale))
    else:
        operations.append(K.RandomBrightness((max(0, 1 - brightness), 1 + brightness), p=augment.jitter_p))
        operations.append(K.RandomContrast((max(0, 1 - contrast), 1 + contrast), p=augment.jitter_p))
    if augment.blur:
        kernel = (augment.blur_kernel, augment.blur_kernel)
        operations.append(K.RandomGaussianBlur(kernel, augment.blur_sigma, p=augment.blur))
    operations.append(K.Normalize(torch.tensor(data.mean), torch.tensor(data.std)))
    pipeline = K.AugmentationSequential(*operations, same_on_batch=False)
    return lambda images: pipeline(images.float() / 255)


def compare(report: Report, name: str) -> None:
    config = preset(name)
    size, channels = config.data.image_size, config.data.channels
    images = torch.randint(0, 256, (BATCH, channels, size, size), dtype=torch.uint8)
    pictures = [v2.functional.to_pil_image(image) for image in images]
    on_device = images.to(report.device)
    augment, generator = SimCLRAugment(config), torch.Generator()
    on_pil, on_tensors = torchvision_pipeline(config, [v2.PILToTensor()]), torchvision_pipeline(config, [])
    cases: dict[str, Callable[[], object]] = {
        "ours": lambda: augment(on_device, generator),
        "torchvision on PIL images": lambda: [on_pil(picture) for picture in pictures],
        "torchvision on tensors": lambda: [on_tensors(image) for image in images],
    }
    if importlib.util.find_spec("kornia"):
        kornia = kornia_pipeline(config)
        cases["kornia"] = lambda: kornia(on_device)
    medians = report.compare(f"augmentation of {BATCH} images, {name} {channels}x{size}x{size}", cases)
    views = {case: round(BATCH / seconds) for case, seconds in medians.items()}
    print("  views/s: " + ", ".join(f"{case} {number:,}" for case, number in views.items()))
    report.keep(f"views per second, {name}", views)


def main(report: Report) -> None:
    for name in ("fashion_mnist", "cifar10", "stl10"):
        compare(report, name)


if __name__ == "__main__":
    with Report("augment", __doc__, threads=1) as report:
        main(report)
