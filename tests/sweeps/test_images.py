"""The images that a plan's trials share."""

from pathlib import Path

from PIL import Image

from sweeps.images import dataset_of, load_datasets
from tests.sweeps.plans import plan_of


def test_trials_with_different_backgrounds_have_different_images(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "pictures" / "a.png")
    plan = plan_of(
        tmp_path / "run",
        preset="image_folder",
        config={"data": {"root": str(tmp_path / "pictures")}},
        axes={"data.background": ["black", "white"], "loss.lambda2": [0.1, 0.5], "seed": [0]},
    )
    lines: list[str] = []
    datasets = load_datasets(plan, lines.append)
    assert len(datasets) == 2
    for config in plan.trials.values():
        expected = {"#000000": [0], "#ffffff": [255]}[config.data.background]
        assert dataset_of(datasets, config).pool("train").images.unique().tolist() == expected
    assert lines.count("image_folder: 1 picture read") == 2
