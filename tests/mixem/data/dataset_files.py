"""Writers of small datasets in the exact formats of the published files."""

import gzip
import io
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def random_images(count: int, *shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


class Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 and the numpy of 2009 did: byte strings for all text, integers for truth values."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value: Any) -> None:
        text = value.encode("latin1") if isinstance(value, str) else value
        short = len(text) < 256
        self.write(pickle.SHORT_BINSTRING if short else pickle.BINSTRING)
        self.write(struct.pack("<B" if short else "<i", len(text)) + text)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, np.dtype):
            return NotImplemented
        kind, (name, *_), state = value.__reduce__()
        return kind, (name, 0, 1), state


def python2_pickle(values: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(values)
    return stream.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def write_cifar10(folder: Path, per_batch: int = 4) -> tuple[Bytes, NDArray[np.int64]]:
    """Returns images and labels, train and then test, as written."""
    folder.mkdir(parents=True)
    names = [f"class{index}".encode() for index in range(10)]
    images = random_images(6 * per_batch, 3072)
    labels = [index % 10 for index in range(6 * per_batch)]
    files = [f"data_batch_{index}" for index in range(1, 6)] + ["test_batch"]
    for index, file in enumerate(files):
        rows = slice(index * per_batch, (index + 1) * per_batch)
        batch = {
            b"batch_label": b"training batch",
            b"labels": labels[rows],
            b"data": images[rows],
            b"filenames": [b"a.png"] * per_batch,
        }
        (folder / file).write_bytes(python2_pickle(batch))
    meta = {b"num_cases_per_batch": per_batch, b"label_names": names, b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    return images.reshape(-1, 3, 32, 32), np.array(labels)


def write_cifar100(folder: Path) -> dict[str, list[int]]:
    """24 training and 21 test images; returns the coarse labels, train and test, as written."""
    folder.mkdir(parents=True)
    coarse = {}
    for file, count in (("train", 24), ("test", 21)):
        coarse[file] = [index % 20 for index in range(count)]
        batch = {
            b"filenames": [b"a.png"] * count,
            b"batch_label": b"",
            b"fine_labels": [99 - index for index in range(count)],
            b"coarse_labels": coarse[file],
            b"data": random_images(count, 3072),
        }
        (folder / file).write_bytes(python2_pickle(batch))
    meta = {
        b"fine_label_names": [b"fine%d" % index for index in range(100)],
        b"coarse_label_names": [b"coarse%d" % index for index in range(20)],
    }
    (folder / "meta").write_bytes(python2_pickle(meta))
    return coarse


def write_stl10(folder: Path) -> dict[str, Bytes]:
    """10 train, 10 test and 5 unlabelled images; returns them, (N, 3, row, column), as written."""
    folder.mkdir(parents=True)
    pools = {}
    for seed, (split, count) in enumerate((("train", 10), ("test", 10), ("unlabeled", 5))):
        pools[split] = random_images(count, 3, 96, 96, seed=seed)
        (folder / f"{split}_X.bin").write_bytes(pools[split].transpose(0, 1, 3, 2).tobytes())
        if split != "unlabeled":
            (folder / f"{split}_y.bin").write_bytes(bytes(range(1, 11)))
    (folder / "class_names.txt").write_text("".join(f"kind{index}\n" for index in range(10)))
    return pools


def idx(items: Bytes) -> bytes:
    return struct.pack(f">BBBB{items.ndim}I", 0, 0, 8, items.ndim, *items.shape) + items.tobytes()


def write_fashion_mnist(folder: Path, zipped: bool = True) -> tuple[Bytes, Bytes]:
    """20 train and 10 test images; returns them as written."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = random_images(20, 28, 28), random_images(10, 28, 28, seed=1)
    classes = [np.arange(count, dtype=np.uint8) % 10 for count in (20, 10)]
    for name, items in zip(IDX_NAMES, (train, classes[0], test, classes[1]), strict=True):
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(items), mtime=0))
        else:
            (folder / name).write_bytes(idx(items))
    return train, test
