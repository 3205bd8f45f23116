"""Class folders of 32x32 PNGs (train/NAME/*.png, test/NAME/*.png) -> CIFAR's batch files in torchvision's layout.

    cifar_batches.py FOLDER ROOT 10      writes ROOT/cifar-10-batches-py
    cifar_batches.py FOLDER ROOT 100     writes ROOT/cifar-100-python, with the 20 super-classes

Then: mixem sweep sweeps/cifar10.yaml --set data.root=ROOT. Pixels and labels are the published ones where the PNGs are;
the order of the images is not (a fixed shuffle), so `mixem data` refuses the files by their MD5, `mixem sweep` takes
them. Needs Pillow and numpy; 60,000 files take about half a minute.
"""

import pickle
import sys
from pathlib import Path

import numpy as np
from PIL import Image

COARSE = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}


def read(folder: Path, names: list[str]) -> tuple[np.ndarray, list[int]]:
    """The images of a split as rows of 3,072 bytes, channel by channel, and their class numbers, sorted by path."""
    paths = [(path, number) for number, name in enumerate(names) for path in sorted((folder / name).iterdir())]
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in paths])
    assert images.shape[1:] == (32, 32, 3), images.shape
    return images.transpose(0, 3, 1, 2).reshape(-1, 3072), [number for _, number in paths]


def write(path: Path, values: dict) -> None:
    """A pickle as numpy wrote it in 2009: arrays by numpy.core.multiarray, keys as bytes."""
    path.write_bytes(pickle.dumps(values, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def main(folder: Path, root: Path, kind: str) -> None:
    """Write the batch files of `kind` classes, 10 or 100, below `root`."""
    names = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    assert len(names) == int(kind), f"{len(names)} classes"
    coarse = sorted(COARSE)
    to_coarse = {fine: number for number, name in enumerate(coarse) for fine in COARSE[name].split()}
    out = root / ("cifar-10-batches-py" if kind == "10" else "cifar-100-python")
    out.mkdir(parents=True, exist_ok=True)
    shuffle = np.random.RandomState(0)
    for split in ("train", "test"):
        images, labels = read(folder / split, names)
        order = shuffle.permutation(len(labels))
        images, labels = np.ascontiguousarray(images[order]), [int(labels[i]) for i in order]
        if kind == "100":
            super_classes = [to_coarse[names[label]] for label in labels]
            write(out / split, {b"data": images, b"fine_labels": labels, b"coarse_labels": super_classes})
            continue
        for number in range(5 if split == "train" else 1):
            part = slice(number * 10_000, (number + 1) * 10_000)
            name = f"data_batch_{number + 1}" if split == "train" else "test_batch"
            write(out / name, {b"data": np.ascontiguousarray(images[part]), b"labels": labels[part]})
    if kind == "10":
        write(out / "batches.meta", {b"label_names": [name.encode() for name in names], b"num_vis": 3072})
    else:
        fine_names = [name.encode() for name in names]
        write(out / "meta", {b"fine_label_names": fine_names, b"coarse_label_names": [n.encode() for n in coarse]})


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[3] not in ("10", "100"):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
