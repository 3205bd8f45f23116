"""The images of a plan's trials: loaded once, checked before any work."""

from collections.abc import Mapping
from pathlib import Path

from mixem.config import Config, DataConfig
from mixem.data.dataset import Dataset, describe, load_dataset
from mixem.experiment import check_images
from mixem.files import each
from mixem.old_records import is_finished
from sweeps.plan import Plan


def images_key(data: DataConfig) -> str:
    """What tells two sets of images in memory apart."""
    return repr((data.name, data.root, data.channels, data.image_size))


def load_datasets(plan: Plan) -> dict[str, Dataset]:
    """Every distinct set of images that the trials use."""
    wanted: dict[str, DataConfig] = {images_key(config.data): config.data for config in plan.trials.values()}
    datasets = {key: load_dataset(data) for key, data in wanted.items()}
    for dataset in datasets.values():
        dataset.checksum()  # computed once here, it travels with the images
    return datasets


def check_data(plan: Plan, datasets: dict[str, Dataset]) -> None:
    """Refuse images that do not fit a trial, or a run folder that holds results of other images."""
    for config in {repr((c.data, c.pretrain, c.train, c.model)): c for c in plan.trials.values()}.values():
        describe(dataset_of(datasets, config), config)
    trials = {plan.trial_folder(name): config for name, config in plan.trials.items()}
    bases = {plan.base_folder(name): config for name, config in plan.bases(plan.trials).items()}

    def check(item: tuple[Path, Config]) -> None:
        folder, config = item
        if is_finished(folder):
            check_images(folder, dataset_of(datasets, config))

    each(plan.run, check, (trials | bases).items())


def dataset_of(datasets: Mapping[str, Dataset], config: Config) -> Dataset:
    """The images of a trial among those of `load_datasets`."""
    return datasets[images_key(config.data)]
