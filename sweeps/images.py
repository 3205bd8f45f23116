"""The images of a plan's trials: loaded once, and compared with those that the results were made with."""

from collections.abc import Callable, Mapping

from mixem.config import Config, DataConfig
from mixem.data.dataset import Dataset, MappedDataset, describe, load_dataset, remarks
from mixem.data.sources import SOURCES, present_files
from mixem.experiment import check_same_images
from mixem.run import Snapshot
from mixem.scoring.assignments import write_pictures
from sweeps.forecast import Counts, published_counts
from sweeps.plan import Plan
from sweeps.reading import reading_bar


def images_key(data: DataConfig) -> str:
    """What tells two sets of images in memory apart."""
    return repr((data.name, data.root, data.channels, data.image_size, data.background))


def check_plan(plan: Plan, snapshot: Snapshot, obtains: bool = False) -> tuple[dict[str, Dataset], str]:
    """Check the images of a plan that is only shown, and print what was read.

    Returns them, none where they are not checked, and what a dry run says of them.

    A published dataset that is absent is not checked, unless `data.root` names where it lies; with `obtains` not even
    then, for a launch downloads it. Raises as `load_datasets` and `check_images`.
    """
    absent = [config.data for config in plan.trials.values() if not _is_present(config.data)]
    if absent and (obtains or not any(data.root for data in absent)):
        return {}, f"images not checked: {absent[0].name} is not there"
    datasets = load_datasets(plan, print)
    check_images(plan, snapshot, datasets)
    print(*(f"{line}\n" for line in remarks_on(plan, datasets)), sep="", end="")
    return datasets, "images checked"


def remarks_on(plan: Plan, datasets: Mapping[str, Dataset]) -> list[str]:
    """What is to be said of the images and the clusters that the trials look for."""
    components = {config.model.components for config in plan.trials.values()}
    return [line for dataset in datasets.values() for line in remarks(dataset, components)]


def _is_present(data: DataConfig) -> bool:
    """Whether all files of a published dataset are there; others are looked for where they are read."""
    return data.name not in SOURCES or len(present_files(data)[1]) == len(SOURCES[data.name].files)


def check_images(plan: Plan, snapshot: Snapshot, datasets: Mapping[str, Dataset]) -> None:
    """Raise DataError for images that do not fit a trial, or a run folder that holds results of other images."""
    for config in {repr((c.data, c.pretrain, c.train, c.model)): c for c in plan.trials.values()}.values():
        describe(dataset_of(datasets, config), config)
    for hash, config in plan.trials.items():
        check_same_images(plan.run.trial(hash), snapshot.trials[hash].record, dataset_of(datasets, config))
    for hash, config in plan.bases().items():
        check_same_images(plan.run.base(hash), snapshot.bases[hash].record, dataset_of(datasets, config))


def load_datasets(plan: Plan, report: Callable[[str], object] = lambda line: None) -> dict[str, Dataset]:
    """Every distinct set of images that the trials use, by `images_key`; `report` as in `load_dataset`.

    A terminal shows how far the reading of pictures is.
    """
    sets: dict[str, DataConfig] = {images_key(config.data): config.data for config in plan.trials.values()}
    with reading_bar() as position:
        datasets = {key: load_dataset(data, report, position) for key, data in sets.items()}
    for dataset in datasets.values():
        dataset.checksum()  # computed once here, it travels with the images
    return datasets


def mapped(datasets: Mapping[str, Dataset]) -> dict[str, Dataset | MappedDataset]:
    """What travels to workers of this machine: they map the file that holds a dataset's pixels, if there is one."""
    return {key: MappedDataset.of(dataset) or dataset for key, dataset in datasets.items()}


def list_pictures(plan: Plan, datasets: Mapping[str, Dataset]) -> None:
    """Write the run folder's list of pictures, unless its trials are of several sets of images, or it is there."""
    if len(datasets) == 1 and not plan.run.pictures_file.exists():
        write_pictures(plan.run.pictures_file, *datasets.values())


def counts_in(datasets: Mapping[str, Dataset]) -> Counts:
    """The number of images in a split, counted where they are loaded."""

    def count(config: Config, split: str) -> int | None:
        dataset = datasets.get(images_key(config.data))
        return sum(map(len, dataset.parts(split))) if dataset else published_counts(config, split)

    return count


def dataset_of(datasets: Mapping[str, Dataset], config: Config) -> Dataset:
    """The images of a trial among those of `load_datasets`."""
    return datasets[images_key(config.data)]
