"""Views per second and core: the batched augmentation against torchvision's pipeline on PIL images.

Run by hand: python tests/benchmarks/augment.py [preset]...
"""

import sys
import time
from collections.abc import Callable

import torch
from torchvision.transforms import v2

from mixem.augment import SimCLRAugment
from mixem.config import Config
from mixem.config_io import preset

BATCH = 512
SECONDS = 2.0


def torchvision_pipeline(config: Config) -> Callable[..., torch.Tensor]:
    augment, data = config.augment, config.data
    return v2.Compose(
        [
            v2.RandomResizedCrop(data.image_size, augment.scale, augment.ratio),
            v2.RandomHorizontalFlip(augment.flip),
            v2.RandomApply([v2.ColorJitter(*augment.jitter)], augment.jitter_p),
            v2.RandomGrayscale(augment.grayscale),
            v2.RandomApply([v2.GaussianBlur(augment.blur_kernel, augment.blur_sigma)], augment.blur),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(data.mean, data.std),
        ]
    )


def views_per_second(batch: Callable[[], object]) -> float:
    """The median over `SECONDS` of repetitions, after one to warm up."""
    batch()
    times: list[float] = []
    while sum(times) < SECONDS:
        start = time.perf_counter()
        batch()
        times.append(time.perf_counter() - start)
    return BATCH / sorted(times)[len(times) // 2]


def compare(name: str) -> None:
    config = preset(name)
    size, channels = config.data.image_size, config.data.channels
    images = torch.randint(0, 256, (BATCH, channels, size, size), dtype=torch.uint8)
    pictures = [v2.functional.to_pil_image(image) for image in images]
    augment, pipeline, generator = SimCLRAugment(config), torchvision_pipeline(config), torch.Generator()
    ours = views_per_second(lambda: augment(images, generator))
    theirs = views_per_second(lambda: [pipeline(picture) for picture in pictures])
    print(
        f"{name:14} {channels}x{size}x{size}  ours {ours:7,.0f}  torchvision {theirs:6,.0f} views/s on one core  "
        f"ratio {ours / theirs:.1f}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ["fashion_mnist", "cifar10", "stl10"]:
        compare(name)
