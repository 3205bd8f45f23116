"""Pictures a second of `mixem predict`, from files to a table, against a loop as one writes it with torchvision.

The loop opens one file after another with PIL, resizes and crops it with torchvision's transforms, and puts batches
through the same encoder, at the same precision, to the nearest of the same centres. Pictures are random: JPEGs of the
size of photos made small, and small PNGs.

Run by hand: python tests/benchmarks/predict.py [--threads N] [--out DIR]
"""

import csv
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import Report
from PIL import Image
from torchvision.transforms import v2

from mixem.checkpoint import save_tensors
from mixem.config import Config
from mixem.model import MixtureModel, build
from mixem.parsing import merge
from mixem.runtime import autocast, resolve_device, resolve_precision
from mixem.settings import dump_config, preset_values, validate
from mixem.trained import TrainedModel, load_model
from sweeps.predicting import predict_to

KINDS = {"photos, 1,200 x 900, JPEG": ((900, 1200), "jpg", 200), "small, 32 x 32, PNG": ((32, 32), "png", 2_000)}
"""Height and width, format, and how many."""
CLUSTERS = 10
BATCH = 256
"""Pictures that the loop puts through the encoder at a time."""


def paint(folder: Path, shape: tuple[int, int], suffix: str, count: int) -> list[Path]:
    """Smooth random pictures, so that JPEG has about as much to decode as in photos."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (max(2, shape[0] // 16), max(2, shape[1] // 16), 3), np.uint8))
        coarse.resize(shape[::-1], Image.Resampling.BICUBIC).save(folder / f"{number}.{suffix}")
    return sorted(folder.iterdir())


def untrained(folder: Path) -> TrainedModel:
    """The exported model of a folder of pictures, its weights and centres at random."""
    folder.mkdir()
    values = merge(preset_values("image_folder"), {"model": {"components": CLUSTERS}})
    config = validate(Config, values)
    model = build(MixtureModel, config.model, config.data.channels, seed=0)
    (folder / "best.yaml").write_text(dump_config(config))
    centres = torch.nn.functional.normalize(torch.randn(CLUSTERS, model.encoder.features))
    save_tensors(folder / "best.safetensors", model.state_dict() | {"centres": centres}, {})
    return load_model(folder)


def loop(model: TrainedModel, pictures: list[Path], out: Path) -> None:
    """The same table, as one writes it with torchvision."""
    data, runtime = model.config.data, model.config.runtime
    device, centres = resolve_device(runtime), torch.from_numpy(model.centres)
    transform = v2.Compose(
        [
            v2.Resize(data.image_size, antialias=True),
            v2.CenterCrop(data.image_size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(data.mean), list(data.std)),
        ]
    )
    model.model.eval().to(device)
    with out.open("w", newline="") as file, torch.inference_mode():
        rows = csv.writer(file)
        for first in range(0, len(pictures), BATCH):
            paths = pictures[first : first + BATCH]
            images = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths]).to(device)
            with autocast(device, resolve_precision(runtime, device)):
                h = model.model.encoder(images)
                p = model.model.mixing(h).float().softmax(dim=1)
            features = torch.nn.functional.normalize(h.float(), dim=1).cpu()
            distances = torch.cdist(features, centres).sort(dim=1)
            nearest = distances.values
            columns = (
                distances.indices[:, 0],
                p.argmax(dim=1),
                p.amax(dim=1),
                nearest[:, 0],
                nearest[:, 1] - nearest[:, 0],
            )
            rows.writerows(zip(map(str, paths), *(column.tolist() for column in columns), strict=True))


def main(report: Report) -> None:
    """Both ways, the cases taking turns."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = untrained(folder / "model")
        for number, (kind, (shape, suffix, count)) in enumerate(KINDS.items()):
            pictures = paint(folder / str(number), shape, suffix, count)
            place = str(folder / str(number))
            cases: dict[str, Callable[[], object]] = {
                "mixem predict": lambda place=place: predict_to(folder / "model", [place], (), folder / "a.csv", None),
                "torchvision loop": lambda pictures=pictures: loop(model, pictures, folder / "b.csv"),
            }
            medians = report.compare(f"{kind}, {count:,}, a picture", cases, per_call=count)
            print("  pictures a second:", {case: f"{1 / seconds:,.0f}" for case, seconds in medians.items()})


if __name__ == "__main__":
    with Report("predict", __doc__, seconds=10) as report:
        main(report)
