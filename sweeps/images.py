"""The images of a plan's trials, loaded once."""

from collections.abc import Callable, Mapping

from mixem.config import Config, DataConfig
from mixem.data.dataset import Dataset, load_dataset
from sweeps.plan import Plan


def images_key(data: DataConfig) -> str:
    """What tells two sets of images in memory apart."""
    return repr((data.name, data.root, data.channels, data.image_size, data.background))


def load_datasets(plan: Plan, report: Callable[[str], object] = lambda line: None) -> dict[str, Dataset]:
    """Every distinct set of images that the trials use, by `images_key`; `report` as in `load_dataset`."""
    sets: dict[str, DataConfig] = {images_key(config.data): config.data for config in plan.trials.values()}
    datasets = {key: load_dataset(data, report) for key, data in sets.items()}
    for dataset in datasets.values():
        dataset.checksum()  # computed once here, it travels with the images
    return datasets


def dataset_of(datasets: Mapping[str, Dataset], config: Config) -> Dataset:
    """The images of a trial among those of `load_datasets`."""
    return datasets[images_key(config.data)]
