"""A folder of large photos, read for the first time and again; and what a worker holds that trains on a million.

Photos of 12 megapixels are drawn here, a few of them, and read under many names. A worker is a process of its own that
trains stage 1 of the small encoder for some steps on random images of 32 pixels in a mapped file: where they lie, or as
a training set of its own, copied out. Needs psutil, and 4 GB in the temporary folder.

Run by hand: python tests/benchmarks/pictures.py [--out DIR]
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import torch
from measure import Report
from PIL import Image

from mixem.config import Config, DataConfig
from mixem.data.cache import SWITCH
from mixem.data.dataset import Dataset, ImageSet, StageSplit, load_dataset, split_stage
from mixem.data.image_set import Selection
from mixem.data.picture import read_picture, square_of
from mixem.data.pixels import PixelFile
from mixem.data.reading import side_by_side
from mixem.runtime import generator, numerics
from mixem.settings import override, preset_values, validate
from mixem.stages import PRETRAIN
from mixem.training import Training

PHOTOS, NAMES, SIDE = 6, 10_000, 32
FEW = 24
"""Photos of a call when ways to read are compared."""
MILLION, STEPS, BATCH = 1_000_000, 10, 256
MIB = 2**20
SETTINGS = (
    "pretrain.epochs=1", f"pretrain.batch_size={BATCH}", "pretrain.threads=1", "runtime.device=cpu",
    "model.encoder=resnet_small", "model.components=10", "validation.images=1024",
)  # fmt: skip


def draw_photos(folder: Path) -> list[Path]:
    """A few photos of 4,000 x 3,000 pixels: smooth shapes with a camera's noise, 1.1 MB each."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(PHOTOS):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = pixels + random.normal(0, 2, (3000, 4000, 1)).round().astype(np.int16)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=85)
    return paths


def compare_ways(report: Report, photos: Sequence[Path], data: DataConfig) -> None:
    """Ways to read a photo: decoded whole, as far as needed, and that by all cores."""
    few = [photos[number % PHOTOS] for number in range(FEW)]

    def whole(path: Path) -> None:
        with Image.open(path) as picture:
            square_of(picture, data)

    def side_by_side_all() -> None:
        with closing(side_by_side(lambda path: read_picture(path, data), few)) as reading:
            for _, picture in reading:
                picture.result()

    cases = {
        "decoded whole, one by one": lambda: [whole(path) for path in few],
        "as far as needed, one by one": lambda: [read_picture(path, data) for path in few],
        "as far as needed, all cores": side_by_side_all,
    }
    report.compare(f"a photo of 12 megapixels to {SIDE} pixels", cases, per_call=FEW)


def read_twice(report: Report, photos: Sequence[Path], folder: Path) -> None:
    """A folder of many photos, for the first time and from the cache."""
    for number in range(NAMES):
        os.link(photos[number % PHOTOS], folder / f"{number:05}.jpg")
        os.utime(folder / f"{number:05}.jpg", (1.6e9, 1.6e9))
    data = DataConfig(name="image_folder", root=str(folder), image_size=SIDE)
    found = {}
    for when in ("the first time", "again"):
        started, worked = time.perf_counter(), time.process_time()
        load_dataset(data).checksum()
        found[f"{when}, s"] = time.perf_counter() - started
        found[f"{when}, s of CPU time"] = time.process_time() - worked
    show(report, f"{NAMES:,} photos", found)


def compare_workers(report: Report, folder: Path) -> None:
    """What a worker holds, in a process of its own for each way."""
    file = PixelFile(folder / "pixels", (MILLION, 3, SIDE, SIDE))
    pixels = file.allocate()
    for piece in torch.split(pixels, 10_000):
        piece.random_(0, 256)
    for copied in (True, False):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found = process.submit(worker, file, copied).result()
        show(report, f"a worker of {MILLION:,} images, {'copied out' if copied else 'where they lie'}, MiB", found)


def worker(file: PixelFile, copied: bool) -> dict[str, float]:
    """Train some steps; what the process holds by itself (MiB), of the file's pages, and the last loss."""
    config = validate(Config, override(preset_values("image_folder"), SETTINGS))
    images = ImageSet(file.open(), None)
    before = private()
    with numerics(1):
        split = split_stage(Dataset("image_folder", {"train": images, "test": images}), config.data, config.pretrain)
        if copied:
            split = StageSplit(*(Selection.whole(part[:]) for part in (split.training, split.validation)))
        training = Training(PRETRAIN, config, split)
        loss = list(steps(training))[-1]
    resident = psutil.Process().memory_info()
    return {"before": before, "while it trains": private(), "mapped pages": resident.shared / MIB, "loss": loss}


def steps(training: Training) -> Iterator[float]:
    training.model.train()
    random = generator("benchmark")
    order = torch.randperm(len(training.images), generator=random)
    for batch in torch.split(order, BATCH)[:STEPS]:
        total = training._terms(training.images[batch], random).total(training.weights)
        training.optimizer.zero_grad(set_to_none=True)
        total.backward()
        training.optimizer.step()
        yield total.item()


def private() -> float:
    """MiB of this process that lie in no file."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def show(report: Report, title: str, values: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:32} {value:10.2f}")
    report.keep(title, values)


def main(report: Report) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ[SWITCH] = str(folder / "cache")
        for name in ("drawn", "photos"):
            (folder / name).mkdir()
        photos = draw_photos(folder / "drawn")
        compare_ways(report, photos, DataConfig(name="image_folder", root=str(folder), image_size=SIDE))
        read_twice(report, photos, folder / "photos")
        compare_workers(report, folder)


if __name__ == "__main__":
    with Report("pictures", __doc__) as report:
        main(report)
