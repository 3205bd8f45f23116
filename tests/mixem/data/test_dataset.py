"""Datasets in memory: pools, checksums, splits, descriptions, resizing, what is built in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.functional import resize as torchvision_resize

from mixem.config import DataConfig, StageConfig
from mixem.data.dataset import CHANNELS, READERS, Dataset, ImageSet, describe, load_dataset, split_stage
from mixem.data.image_set import Selection, resize
from mixem.errors import ConfigError, DataError
from mixem.settings import preset, preset_names


def numbered(start: int, stop: int, labelled: bool = True) -> ImageSet:
    """Images whose pixels are their own number, so that they can be told apart."""
    numbers = torch.arange(start, stop)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    return ImageSet(images, numbers % 2 if labelled else None, ("even", "odd"))


@pytest.fixture
def dataset() -> Dataset:
    pools = {"train": numbered(0, 100), "test": numbered(100, 120), "unlabeled": numbered(120, 250, labelled=False)}
    return Dataset("stl10", pools)


def data_config(**values: Any) -> DataConfig:
    return DataConfig(name="stl10", **values)


def stage_config(**values: Any) -> StageConfig:
    return StageConfig(**{"epochs": 1, "batch_size": 2, **values})


def numbers(images: ImageSet | Selection) -> list[int]:
    pixels = images.images if isinstance(images, ImageSet) else images[:]
    return pixels[:, 0, 0, 0].tolist()


def test_every_dataset_has_a_reader() -> None:
    assert {*READERS, "image_folder"} == set(DataConfig.model_fields["name"].annotation.__args__)


def test_subset_is_a_copy_in_the_order_asked_for(dataset: Dataset) -> None:
    pool = dataset.pool("train")
    subset = pool.subset(torch.tensor([7, 2]))
    assert numbers(subset) == [7, 2]
    assert subset.labels.tolist() == [1, 0]
    assert subset.class_names == pool.class_names
    subset.images.zero_()
    assert numbers(pool)[7] == 7


def test_subset_of_unlabelled_images_is_unlabelled(dataset: Dataset) -> None:
    assert dataset.pool("unlabeled").subset(torch.tensor([0])).labels is None


def test_pool_joins_splits(dataset: Dataset) -> None:
    joined = dataset.pool("train+test")
    assert numbers(joined) == list(range(120))
    assert torch.equal(joined.labels, torch.arange(120) % 2)
    assert joined.class_names == ("even", "odd")


def test_pool_with_an_unlabelled_part_is_unlabelled(dataset: Dataset) -> None:
    joined = dataset.pool("train+unlabeled")
    assert len(joined) == 230
    assert joined.labels is None


def test_pool_names_a_split_that_is_absent() -> None:
    dataset = Dataset("cifar10", {"train": numbered(0, 4), "test": numbered(4, 8)})
    with pytest.raises(DataError, match=r"^cifar10 has no unlabeled split; it has train, test$"):
        dataset.pool("train+unlabeled")


def test_pools_that_are_the_same_images_are_not_joined_twice() -> None:
    images = numbered(0, 10)
    dataset = Dataset("digits", {"train": images, "test": images})
    assert dataset.pool("train+test") is images
    assert dataset.is_transductive("train")


def test_checksum_is_fixed(dataset: Dataset) -> None:
    assert dataset.checksum() == "6d98ee7d2009267225a879b25afbc6bf4df1f3dfe29a5f9261b8c844d98d4ecc"


def test_checksum_sees_every_part() -> None:
    def checksum(
        images: Tensor | None = None,
        labels: Tensor | None = None,
        names: tuple[str, ...] = ("a", "b"),
        pool: str = "train",
        name: str = "digits",
    ) -> str:
        images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8) if images is None else images
        labels = torch.tensor([0, 1]) if labels is None else labels
        return Dataset(name, {pool: ImageSet(images, labels, names)}).checksum()

    pixel = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    pixel[1, 0, 7, 7] = 1
    changed = [
        checksum(),
        checksum(images=pixel),
        checksum(images=torch.zeros(2, 1, 4, 16, dtype=torch.uint8)),
        checksum(labels=torch.tensor([1, 0])),
        checksum(names=("a", "c")),
        checksum(pool="test"),
        checksum(name="cifar10"),
    ]
    assert len(set(changed)) == len(changed)


def test_checksum_looks_at_pixels_not_at_strides() -> None:
    images = torch.arange(128, dtype=torch.uint8).view(2, 1, 8, 8)
    columns = images.transpose(2, 3).contiguous().transpose(2, 3)
    assert not columns.is_contiguous()
    both = [Dataset("x", {"train": ImageSet(layout, None)}).checksum() for layout in (images, columns)]
    assert both[0] == both[1]


def test_split_stage_divides_without_overlap(dataset: Dataset) -> None:
    split = split_stage(dataset, data_config(), stage_config(split="train+test", validation=0.25))
    training, validation = numbers(split.training), numbers(split.validation)
    assert len(validation) == 30
    assert sorted(training + validation) == list(range(120))
    assert training != sorted(training)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    limit=st.none() | st.integers(20, 400),
    share=st.floats(0.1, 0.8),
    split=st.sampled_from(["train", "train+test", "train+unlabeled"]),
)
def test_split_stage_is_determined_by_its_seed(seed: int, limit: int | None, share: float, split: str) -> None:
    dataset = Dataset(
        "stl10", {"train": numbered(0, 100), "test": numbered(100, 120), "unlabeled": numbered(120, 250, False)}
    )
    data, stage = data_config(split_seed=seed, limit=limit), stage_config(split=split, validation=share)
    once, again = split_stage(dataset, data, stage), split_stage(dataset, data, stage)
    assert numbers(once.training) == numbers(again.training)
    assert numbers(once.validation) == numbers(again.validation)
    used = numbers(once.training) + numbers(once.validation)
    total = len(dataset.pool(split))
    assert len(set(used)) == len(used) == min(total, limit or total)
    assert len(once.validation) == int(len(used) * share)


def test_another_seed_is_another_split(dataset: Dataset) -> None:
    splits = [split_stage(dataset, data_config(split_seed=seed), stage_config()) for seed in (0, 1)]
    assert set(numbers(splits[0].validation)) != set(numbers(splits[1].validation))


def test_a_smaller_limit_is_a_subset_of_a_larger_one(dataset: Dataset) -> None:
    def used(limit: int | None) -> set[int]:
        split = split_stage(dataset, data_config(limit=limit), stage_config())
        return set(numbers(split.training) + numbers(split.validation))

    assert used(30) < used(60) < used(None) == used(1000)


def test_split_of_this_seed_is_fixed(dataset: Dataset) -> None:
    split = split_stage(dataset, data_config(), stage_config())
    assert numbers(split.validation) == [38, 27, 14, 73, 33, 58, 86, 43, 99, 51]


def test_a_batch_must_fit_into_the_training_images(dataset: Dataset) -> None:
    stage_ok, stage_large = stage_config(batch_size=45), stage_config(batch_size=46)
    split_stage(dataset, data_config(limit=50), stage_ok)
    with pytest.raises(ConfigError) as error:
        split_stage(dataset, data_config(limit=50), stage_large)
    assert str(error.value) == (
        "batch_size: 46 is not allowed; at most 45: so many of 50 images (split train of stl10, data.limit) are left "
        "for training"
    )


def test_validation_needs_two_images(dataset: Dataset) -> None:
    split_stage(dataset, data_config(), stage_config(validation=0.02))
    with pytest.raises(ConfigError) as error:
        split_stage(dataset, data_config(), stage_config(validation=0.019))
    assert str(error.value) == (
        "validation: 0.019 is not allowed; of 100 images (split train of stl10) it holds out 1; 2 or more are needed"
    )


def test_describe_names_splits_counts_and_transduction(dataset: Dataset) -> None:
    config = preset("stl10")
    config = config.model_copy(
        update={
            "pretrain": config.pretrain.model_copy(update={"batch_size": 16}),
            "train": config.train.model_copy(update={"batch_size": 16}),
        }
    )
    assert describe(dataset, config) == [
        "pretrain: split train+unlabeled, 219 training and 11 validation images",
        "train: split train+test, 112 training and 8 validation images; transductive: they include images it is "
        "scored on",
        "test: 20 images, 2 classes",
    ]


def test_describe_names_the_stage_it_refuses(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"^pretrain\.batch_size: 512 is not allowed; at most 219: "):
        describe(dataset, preset("stl10"))


def test_describe_says_that_clusters_cannot_be_scored() -> None:
    dataset = Dataset("image_folder", {"train": numbered(0, 50), "test": numbered(50, 60, labelled=False)})
    config = preset("synthetic").model_copy(update={"pretrain": stage_config(), "train": stage_config()})
    assert describe(dataset, config)[-1] == "test: 10 images, no labels, so clusters cannot be scored"


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_channels_must_fit_the_dataset(name: str, tmp_path: Path) -> None:
    wrong = 4 - CHANNELS[name]
    data = DataConfig(name=name, root=str(tmp_path), channels=wrong, mean=(0.5,) * wrong, std=(0.5,) * wrong)
    with pytest.raises(ConfigError, match=rf"^data\.channels: {wrong} is not allowed; {name} has {CHANNELS[name]}$"):
        load_dataset(data)


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_the_channels_of_their_dataset(name: str) -> None:
    assert preset(name).data.channels == CHANNELS.get(name, 3)


def test_digits_are_train_and_test_both() -> None:
    config = preset("digits")
    dataset = load_dataset(config.data)
    train, test = dataset.pool("train"), dataset.pool("test")
    assert train is test is dataset.pool("train+test")
    assert train.images.shape == (1797, 1, 16, 16)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.class_names == tuple("0123456789")
    lines = describe(dataset, config)
    assert all("transductive" in line for line in lines[:2])
    assert dataset.checksum() == "649a1153adbff67c5c8ea88628da9cf6d3b93f2e4fea921057249221b3442095"


def test_digits_cover_the_range_of_a_byte() -> None:
    images = load_dataset(preset("digits").data.model_copy(update={"image_size": 8})).pool("train").images
    assert images.unique().tolist() == [round(value * 255 / 16 + 1e-9) for value in range(17)]


def test_synthetic_is_the_same_everywhere() -> None:
    dataset = load_dataset(preset("synthetic").data)
    assert {name: tuple(pool.images.shape) for name, pool in dataset.pools.items()} == {
        "train": (512, 3, 16, 16),
        "test": (256, 3, 16, 16),
    }
    assert dataset.pool("train").labels.bincount().tolist() == [128] * 4
    assert len(dataset.pool("train").class_names) == 4
    assert dataset.checksum() == "c10366051d0522a7321815ba67974e7ee5875256d729ece662e2d76fc4c6cbad"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [8, 16, 33])
def test_synthetic_classes_can_be_learned(channels: int, image_size: int) -> None:
    data = DataConfig(
        name="synthetic",
        channels=channels,
        image_size=image_size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    dataset = load_dataset(data)
    train, test = dataset.pool("train"), dataset.pool("test")
    assert train.images.shape[1:] == (channels, image_size, image_size)
    distances = torch.cdist(test.images.flatten(1).float(), train.images.flatten(1).float())
    accuracy = (train.labels[distances.argmin(1)] == test.labels).float().mean()
    assert accuracy > 0.95


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3]))
def test_resize_is_torchvisions_to_within_rounding(before: int, after: int, channels: int) -> None:
    images = torch.from_numpy(
        np.random.default_rng(before).integers(0, 256, (2, channels, before, before), dtype=np.uint8)
    )
    ours = resize(images, after)
    assert ours.dtype == torch.uint8
    assert ours.shape == (2, channels, after, after)
    difference = ours.int() - torchvision_resize(images, [after, after], antialias=True).int()
    assert difference.abs().max() <= 1
