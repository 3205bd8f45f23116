import json
from pathlib import Path

import pytest

from analysis import export
from analysis.export import export_best, write_best
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.settings import load_config
from tests.analysis.run_folder import RunBuilder


def comments(path: Path) -> str:
    return "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))


def test_round_trip_of_the_selection(whole: RunBuilder, tmp_path: Path) -> None:
    picked = whole.trial(lambda2=0.1, lambda3=0.1, lambda4=0.1)
    paths = export_best(whole.path, tmp_path / "new" / "folder")
    trained = whole.configs[picked]
    runtime = trained.runtime.model_copy(update={"precision": "fp32"})
    assert trained.runtime.precision == "auto"
    assert load_config(paths.config) == trained.model_copy(update={"runtime": runtime})
    assert paths.weights.read_bytes() == f"weights of {picked}".encode()
    for words in ("picked by criterion reference", "run sweep", picked, "torch: 2.11.0", "git: 0123abc", "sha256:9f2c"):
        assert words in comments(paths.config)
    assert sorted(p.name for p in paths.config.parent.iterdir()) == ["best.safetensors", "best.yaml"]


def test_write_best_goes_into_the_run_folder(small: RunBuilder) -> None:
    paths = write_best(small.finish_all().path)
    assert paths.config == small.path / "best.yaml"
    assert "the lowest of seeds 0, 1" in comments(paths.config)


def test_a_trial_by_prefix(small: RunBuilder, tmp_path: Path) -> None:
    small.finish_all(labels=False)
    trial = list(small.configs)[5]
    paths = export_best(small.path, tmp_path, trial[:8])
    assert load_config(paths.config).loss == small.configs[trial].loss
    assert "not picked" in comments(paths.config)
    assert "no labels" in comments(paths.config)


def test_unknown_ambiguous_and_unfinished_trials(small: RunBuilder, tmp_path: Path) -> None:
    failed, pending, *_ = small.configs
    small.finish_all(skip=(failed, pending))
    small.fail(failed)
    with pytest.raises(ConfigError, match=f"no trial 'zzz' in this run; it has: .*{failed}"):
        export_best(small.path, tmp_path, "zzz")
    with pytest.raises(ConfigError, match="fits several trials"):
        export_best(small.path, tmp_path, "")
    with pytest.raises(ConfigError, match="is failed"):
        export_best(small.path, tmp_path, failed)
    with pytest.raises(ConfigError, match="is pending"):
        export_best(small.path, tmp_path, pending)
    with pytest.raises(ConfigError, match="no trial"):
        export_best(small.path, tmp_path, f"../trials/{failed}")
    assert not list(tmp_path.glob("best.*"))


def test_nothing_to_pick_and_no_weights(small: RunBuilder, tmp_path: Path) -> None:
    with pytest.raises(MixemError, match="none to pick"):
        write_best(small.path)
    for folder in small.finish_all().path.glob("trials/*/weights.safetensors"):
        folder.unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: cannot be read"):
        write_best(small.path)


def test_comments_cannot_break_out_of_their_lines(small: RunBuilder) -> None:
    small.finish_all()
    for record in small.path.glob("trials/*/result.json"):
        values = json.loads(record.read_text())
        values["provenance"]["hardware"] = "x\nseed: 99\u2028seed: 98\x85\x00\x1b[31m"
        record.write_text(json.dumps(values))
    small.spec(name="evil\nseed: 97")
    assert load_config(write_best(small.path).config).seed == 0


def test_an_interrupted_export_leaves_the_old_one(small: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_best(small.finish_all().path).config.read_text()

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_bytes", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_best(small.path)
    assert (small.path / "best.yaml").read_text() == before
    assert not list(small.path.glob(".*"))
