"""The sweep file: its trials, its overrides, its errors."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixem.errors import ConfigError
from mixem.settings import config_hash
from sweeps.spec import load_spec, parse_spec, spec_hash
from tests.sweeps.launch import ROOT

SHIPPED = sorted((ROOT / "sweeps").glob("*.yaml"))
TABLE_1 = {
    "stl10": (0.1, 0.05, 0.1),
    "cifar10": (0.1, 0.0, 0.05),
    "cifar100_20": (0.01, 0.05, 0.0),
}


def sweep(tmp_path: Path, **changes: object) -> Path:
    values = {"name": "s", "preset": "synthetic", "axes": {"loss.lambda2": [0.1, 0.5], "seed": [0, 1]}} | changes
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"metadata": {"sweep": values}}))
    return path


def test_trials_are_all_combinations_the_last_axis_fastest(tmp_path: Path) -> None:
    trials = load_spec(sweep(tmp_path)).trials()
    assert [(config.loss.lambda2, config.seed) for config in trials.values()] == [
        (0.1, 0),
        (0.1, 1),
        (0.5, 0),
        (0.5, 1),
    ]
    assert all(config_hash(config) == name for name, config in trials.items())


def test_any_key_can_be_an_axis(tmp_path: Path) -> None:
    path = sweep(tmp_path, axes={"model.encoder": ["resnet18", "resnet_small"], "augment.flip": [0.0, 0.5]})
    assert len(load_spec(path).trials()) == 4


def test_cpus_of_a_trial_become_its_threads_and_do_not_change_its_hash(tmp_path: Path) -> None:
    one = load_spec(sweep(tmp_path)).trials()
    four = load_spec(sweep(tmp_path, resources={"cpu": 4})).trials()
    assert list(one) == list(four)
    assert {config.train.threads for config in four.values()} == {4}


def test_threads_that_are_set_stay(tmp_path: Path) -> None:
    trials = load_spec(sweep(tmp_path), ["train.threads=3"]).trials()
    assert {config.train.threads for config in trials.values()} == {3}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("loss.lambda2=0.3", [(0.3, 0), (0.3, 1)]),
        ("loss.lambda2=[1, 2]", [(1, 0), (1, 1), (2, 0), (2, 1)]),
        ("axes.seed=[7]", [(0.1, 7), (0.5, 7)]),
    ],
)
def test_set_replaces_the_values_of_an_axis(tmp_path: Path, assignment: str, expected: list[tuple[float, int]]) -> None:
    trials = load_spec(sweep(tmp_path), [assignment]).trials()
    assert [(config.loss.lambda2, config.seed) for config in trials.values()] == expected


def test_set_changes_the_configuration_and_the_spec(tmp_path: Path) -> None:
    spec = load_spec(sweep(tmp_path), ["train.epochs=7", "criterion=own", "resources.cpu=2"])
    assert spec.criterion == "own"
    assert spec.resources.cpu == 2
    assert {config.train.epochs for config in spec.trials().values()} == {7}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axes": {}}, ("axes", "at least 1")),
        ({"axes": {"loss.lambda2": []}}, ("loss.lambda2", "at least 1")),
        ({"axes": {"loss.lambda9": [1]}}, ("loss.lambda9", "unknown key", "lambda2")),
        ({"axes": {"loss.lambda2": [-1]}}, ("loss.lambda2", "-1", "greater than or equal to 0")),
        ({"axes": {"loss.lambda2": ["x"]}}, ("loss.lambda2", "'x'", "number")),
        ({"axes": {"seed": [0, 0]}}, ("axes", "the same", "seed = 0")),
        ({"axes": {"data.root": ["a", "b"]}}, ("data.root", "where a trial runs")),
        ({"axes": {"train.threads": [1, 2]}}, ("train.threads", "where a trial runs")),
        ({"config": {"seed": 3}}, ("config.seed", "3", "is an axis")),
        (
            {"axes": {"model.width": [None, 8]}, "config": {"model": {"width": None}}},
            ("config.model.width", "None", "is an axis"),
        ),
        ({"config": {"runtime": {"device": "cuda"}}}, ("resources.gpu", "0", "cuda")),
        ({"resources": {"cpu": True}}, ("resources.cpu", "True", "number")),
        ({"preset": "mnist"}, ("preset", "'mnist'", "digits")),
        ({"criterion": "accuracy"}, ("criterion", "'accuracy'", "'reference'")),
        ({"name": "../up"}, ("name", "'../up'", "pattern")),
        ({"name": "a/../../up"}, ("name", "'a/../../up'", "pattern")),
        ({"name": "up\n"}, ("name", "up", "pattern")),
        ({"axis": {}}, ("axis", "unknown key", "axes")),
        ({"resources": {"cpu": 0}}, ("resources.cpu", "0", "greater than 0")),
        ({"config": {"train": {"epochs": 0}}}, ("train.epochs", "0", "greater than or equal to 1")),
    ],
)
def test_bad_input_is_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spec(sweep(tmp_path, **changes)).trials()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["", "[]", "metadata: 3", "metadata: {sweep: []}", "cluster_name: x"])
def test_a_file_without_a_sweep_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "no.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"metadata\.sweep"):
        load_spec(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_sweeps_and_ray_clusters(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    assert load_spec(path).trials()
    validate_config(prepare_config(yaml.safe_load(path.read_text())))


def test_a_specs_hash_is_the_same_on_a_head_and_changes_with_the_spec(tmp_path: Path) -> None:
    path = sweep(tmp_path, axes={"loss.lambda2": [0.1, 1e-5]})
    sent = parse_spec(json.loads(json.dumps(yaml.safe_load(path.read_text()))), path)
    assert spec_hash(sent) == spec_hash(load_spec(path))
    changes = [["loss.lambda2=0.1"], ["train.epochs=7"], ["criterion=own"], ["run=elsewhere"], ["preset=digits"]]
    assert len({spec_hash(load_spec(path, change)) for change in [[], *changes]}) == 6


@pytest.mark.parametrize("name", TABLE_1)
def test_the_papers_datasets_sweep_27_points_that_hold_table_1(name: str) -> None:
    trials = load_spec(ROOT / "sweeps" / f"{name}.yaml").trials().values()
    points = [(config.loss.lambda2, config.loss.lambda3, config.loss.lambda4) for config in trials]
    assert len(set(points)) == 27
    assert TABLE_1[name] in points
    assert (0, 0, 0) in points


@pytest.mark.long
@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 99), min_size=1, unique=True),
)
def test_growing_an_axis_keeps_the_trials_that_were_there(lambdas: list[float], seeds: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = load_spec(sweep(Path(folder), axes={"loss.lambda2": lambdas, "seed": seeds})).trials()
        after = load_spec(sweep(Path(folder), axes={"loss.lambda2": [*lambdas, 11.0], "seed": seeds})).trials()
    assert before.keys() <= after.keys()
    assert len(after) == len(before) + len(seeds)


@pytest.mark.parametrize("key", ["run", "name", "config.data.root", "data.root"])
def test_text_of_a_sweep_is_set_as_it_stands(tmp_path: Path, key: str) -> None:
    """YAML would make a date of it."""
    file = tmp_path / "s.yaml"
    file.write_text("metadata: {sweep: {name: s, preset: synthetic, axes: {seed: [0]}}}")
    spec = load_spec(file, [f"{key}=2026-11-26"])
    texts = {"run": spec.run, "name": spec.name}
    assert texts.get(key, spec.config.get("data", {}).get("root")) == "2026-11-26"


def test_no_two_trials_of_close_values_are_described_alike(tmp_path: Path) -> None:
    axes = "{loss.lambda2: [0.3, 0.30000000000000004], loss.lambda4: [0.1234567, 0.1234568], seed: [0]}"
    path = tmp_path / "sweep.yaml"
    path.write_text(f"metadata: {{sweep: {{name: close, preset: synthetic, axes: {axes}}}}}\n")
    spec = load_spec(path)
    described = list(map(spec.point, spec.trials().values()))
    assert described[0] == "loss.lambda2 = 0.3, loss.lambda4 = 0.1234567, seed = 0"
    assert described[3] == "loss.lambda2 = 0.30000000000000004, loss.lambda4 = 0.1234568, seed = 0"
    assert len(set(described)) == 4


def test_an_axis_of_texts_is_set_as_a_list(tmp_path: Path) -> None:
    file = sweep(tmp_path, axes={"data.background": ["white"]})
    trials = load_spec(file, ["data.background=[black, '#123']"]).trials()
    assert [config.data.background for config in trials.values()] == ["#000000", "#112233"]


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("metadata:\n  sweep:\n    axes:\n      seed: [0]\n      loss.lambda2: [0.1]\n      seed: [1]\n")
    with pytest.raises(ConfigError, match=r"s\.yaml: .*the key 'seed' stands twice, in lines 4 and 6; keep one"):
        load_spec(file)
