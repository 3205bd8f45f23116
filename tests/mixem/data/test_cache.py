"""Pictures that were read before: what is taken from the cache, what is not, and that nothing of it is in the way."""

import errno
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mixem.data import cache, pictures
from mixem.data.cache import Cache, cache_folder
from mixem.data.dataset import Dataset, MappedDataset, load_dataset
from mixem.data.picture import read_picture
from mixem.data.pixels import PixelFile
from mixem.errors import DataError
from tests.mixem.data.test_image_folder import data_config, save

OLD = (1_600_000_000, 1_600_000_000)
"""A time of last change long ago."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's own folder."""
    monkeypatch.setenv("MIXEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five pictures of different colours, not changed for long."""
    for number in range(5):
        paint(tmp_path / "pictures" / f"{number}.png", number)
    return tmp_path / "pictures"


def paint(path: Path, number: int) -> None:
    save(path, colour=(40 * number, 0, 0))
    os.utime(path, OLD)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded."""
    names: list[str] = []

    def note(path: Path, data: object) -> object:
        names.append(path.name)
        return read_picture(path, data)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "read_picture", note)
    return names


def load(root: Path, **values: int) -> Dataset:
    return load_dataset(data_config(root, **values))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_pictures_are_decoded_once(root: Path, folder: Path, read: list[str]) -> None:
    first, again = load(root), load(root)
    assert sorted(read) == [f"{number}.png" for number in range(5)]
    assert first.checksum() == again.checksum()
    assert first.pool("train").paths == again.pool("train").paths
    assert first.file == again.file
    assert entries(folder) == [first.file.path.parent]


def test_what_is_read_from_the_cache_is_reported_alike(root: Path, folder: Path) -> None:
    page = Image.new("RGB", (16, 16))
    page.save(root / "stack.tif", save_all=True, append_images=[page])
    os.utime(root / "stack.tif", OLD)
    lines: tuple[list[str], list[str]] = ([], [])
    for part in lines:
        load_dataset(data_config(root), part.append)
    assert lines[0] == lines[1]
    assert lines[0][1] == "image_folder: 6 pictures read; of 1 with several pages or frames the first one"


def test_a_changed_picture_alone_is_decoded_again(root: Path, folder: Path, read: list[str]) -> None:
    load(root)
    read.clear()
    save(root / "3.png", colour=(0, 0, 255))
    os.utime(root / "3.png", (OLD[0] + 1, OLD[1] + 1))
    (root / "0.png").unlink()
    images = load(root).pool("train").images
    assert read == ["3.png"]
    assert images[:, 0, 8, 8].tolist() == [40, 80, 0, 160]
    assert len(entries(folder)) == 1


def test_a_picture_that_has_just_changed_is_read_every_time(root: Path, folder: Path, read: list[str]) -> None:
    save(root / "3.png")
    load(root)
    read.clear()
    save(root / "3.png", colour=(11, 0, 0))
    assert load(root).pool("train").images[3, 0, 8, 8] == 11
    assert read == ["3.png"]


@pytest.mark.parametrize("other", [{"image_size": 8}, {"channels": 1}])
def test_pictures_read_in_another_way_are_another_entry(root: Path, folder: Path, other: dict[str, int]) -> None:
    load(root)
    assert load(root, **other).pool("train").images.shape[1:] != load(root).pool("train").images.shape[1:]
    assert len(entries(folder)) == 2


def test_pictures_above_the_limit_stay_left_out(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    save(root / "2.png", width=2000, height=1000)
    os.utime(root / "2.png", OLD)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000)
    first, again = load(root), load(root)
    assert len(read) == 5
    for dataset in (first, again):
        assert dataset.pool("train").images[:, 0, 8, 8].tolist() == [0, 40, 120, 160]
        assert dataset.pool("train").paths == ("0.png", "1.png", "3.png", "4.png")


def test_a_damaged_entry_is_read_anew(root: Path, folder: Path, read: list[str]) -> None:
    file = load(root).file
    with file.path.open("rb+") as stream:
        stream.write(b"\1")
    assert load(root).pool("train").images[:, 0, 8, 8].tolist() == [0, 40, 80, 120, 160]
    (load(root).file.path.parent / "index.npz").write_bytes(b"PK nonsense")
    load(root)
    load(root).file.path.write_bytes(b"")
    load(root)
    assert len(read) == 4 * 5


def test_the_switch_turns_it_off(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load(root)
    shutil.rmtree(folder)
    monkeypatch.setenv("MIXEM_CACHE", "off")
    assert cache_folder() is None
    dataset = load(root)
    assert dataset.file is None
    assert not folder.exists()
    assert dataset.checksum() == kept.checksum()


def test_it_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MIXEM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mixem" / "pixels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mixem" / "pixels"


def test_without_a_folder_to_write_to_pictures_are_read_all_the_same(root: Path, folder: Path) -> None:
    folder.write_text("a file in its place")
    lines: list[str] = []
    dataset = load_dataset(data_config(root), lines.append)
    assert len(dataset.pool("train")) == 5
    assert lines[1] == f"image_folder: the pictures will be read again the next time ({folder}: File exists)"


def test_a_full_disk_costs_the_cache_alone(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is asked for than any disk has."""
    monkeypatch.setattr(PixelFile, "size", property(lambda file: 1 << 60))
    lines: list[str] = []
    dataset = load_dataset(data_config(root), lines.append)
    assert dataset.file is None
    assert dataset.pool("train").images[:, 0, 8, 8].tolist() == [0, 40, 80, 120, 160]
    assert len([line for line in lines if "will be read again the next time" in line]) == 1
    assert entries(folder) == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, DataError("a.png: cannot be read")])
def test_what_ends_the_reading_leaves_nothing(
    root: Path, folder: Path, end: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: object) -> object:
        if path.name == "3.png":
            raise end
        return read_picture(path, data)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "read_picture", fail)
    with pytest.raises((KeyboardInterrupt, DataError)):
        load(root)
    assert entries(folder) == []


def test_what_was_used_longest_ago_goes_first(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [load(root, image_size=side).file.size for side in (8, 16)]
    old, new = (file.path for file in (load(root, image_size=side).file for side in (8, 16)))
    os.utime(old.parent, OLD)
    monkeypatch.setattr(cache, "MAX_BYTES", sizes[1] + 5 * 3 * 24**2)
    load(root, image_size=24)
    assert not old.exists()
    assert new.exists()


def test_what_is_in_use_is_not_removed(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load(root)
    monkeypatch.setattr(cache, "MAX_BYTES", 0)
    load(root, image_size=8)
    assert dataset.file.path.exists()
    assert dataset.file.in_use()
    file = dataset.file
    del dataset
    assert not file.in_use()
    load(root, image_size=24)
    assert not file.path.exists()


def test_what_a_killed_process_left_is_removed(root: Path, folder: Path) -> None:
    left = folder / ".0123456789abcdef.00000000"
    left.mkdir(parents=True)
    (left / "pixels").write_bytes(b"half")
    load(root)
    assert not left.exists()


def test_nothing_that_is_not_its_own_is_removed(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that a user names may hold anything."""
    monkeypatch.setattr(cache, "MAX_BYTES", 0)
    others = [folder / name for name in (".git/config", ".ssh/id", "thesis/pixels", "notes.txt")]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("mine")
    load(root)
    load(root, image_size=8)
    assert [other.read_text() for other in others] == ["mine"] * 4


def test_the_entry_before_is_used_although_room_is_made(
    root: Path, folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = load(root).file.size
    read.clear()
    monkeypatch.setattr(cache, "MAX_BYTES", 3 * size // 2)
    save(root / "3.png", colour=(0, 0, 255))
    os.utime(root / "3.png", (OLD[0] + 1, OLD[1] + 1))
    load(root)
    assert read == ["3.png"]
    assert len(entries(folder)) == 1


def test_more_pixels_than_memory_can_be_mapped(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    file = PixelFile(tmp_path / "pixels", (2 * memory // 3072, 3, 32, 32))
    with file.path.open("wb") as stream:
        stream.truncate(file.size)  # a sparse file
    assert not file.open()[-1].any()


def test_an_entry_that_cannot_be_read_now_stays(
    root: Path, folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load(root).file.path.parent
    pixels, refused = PixelFile.open, OSError(errno.ENOMEM, "no memory")

    def refuse(file: PixelFile) -> object:
        if file.path.parent == entry:
            raise refused
        return pixels(file)

    with monkeypatch.context() as context:
        context.setattr(PixelFile, "open", refuse)
        assert load(root).pool("train").images[:, 0, 8, 8].tolist() == [0, 40, 80, 120, 160]
    read.clear()
    load(root)
    assert read == []


def test_what_is_written_to_the_pixels_stays_in_the_process(root: Path, folder: Path) -> None:
    first = load(root)
    first.pool("train").images.zero_()
    assert load(root).pool("train").images[:, 0, 8, 8].tolist() == [0, 40, 80, 120, 160]


def test_two_that_read_the_same_at_once_keep_one(root: Path, folder: Path, tmp_path: Path) -> None:
    both = [Cache(folder, "settings") for _ in range(2)]
    listed = pictures.Listed.of(root, sorted(root.iterdir()))
    pixels, kinds = torch.arange(5 * 3 * 4, dtype=torch.uint8).view(5, 3, 2, 2), torch.zeros(5).byte().numpy()
    with both[0].making((5, 3, 2, 2)) as first, both[1].making((5, 3, 2, 2)) as second:
        for one, (file, room) in zip(both, (first, second), strict=True):
            room.copy_(pixels)
            kept = one.keep(file, listed, kinds, pixels)
    assert entries(folder) == [kept.path.parent]
    assert torch.equal(kept.open(), pixels)


# On their way to workers


def test_workers_are_given_the_file_in_place_of_its_pixels(tmp_path: Path, folder: Path) -> None:
    for split, count in (("train", 40), ("test", 20)):
        for number in range(count):
            save(tmp_path / "splits" / split / f"class {number % 2}" / f"{number}.png", colour=(number, 0, 0))
    dataset = load(tmp_path / "splits")
    content = pickle.dumps(MappedDataset.of(dataset))
    assert len(content) < 5_000 < dataset.file.size
    opened = pickle.loads(content).open()
    assert opened.checksum() == dataset.checksum() == replace(opened).checksum()
    for name, pool in dataset.pools.items():
        assert torch.equal(opened.pool(name).images, pool.images)


def test_workers_see_a_split_that_is_both_as_one(root: Path, folder: Path) -> None:
    opened = pickle.loads(pickle.dumps(MappedDataset.of(load(root)))).open()
    assert opened.pool("train") is opened.pool("test")
    assert opened.numbers("train+test").tolist() == list(range(5))


def test_images_without_a_file_travel_themselves(synthetic: Dataset) -> None:
    assert MappedDataset.of(synthetic) is None


def test_a_file_that_is_gone_is_named(root: Path, folder: Path) -> None:
    mapped = MappedDataset.of(load(root))
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"pixels: cannot be read \(No such file or directory\)$"):
        mapped.open()
