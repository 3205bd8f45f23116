"""The best configuration and its weights."""

from pathlib import Path

import pytest

from analysis import export as export_module
from analysis import wording
from analysis.export import export, export_baseline, write_best
from analysis.report import write_report
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.settings import base_hash, load_config
from tests.analysis.run_folder import RunBuilder, change_record

pytestmark = pytest.mark.long


def comments(path: Path) -> str:
    return "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))


def test_the_selection_is_exported_as_it_was_trained(whole: RunBuilder, tmp_path: Path) -> None:
    picked = whole.trial(lambda2=0.1, lambda3=0.1, lambda4=0.1)
    paths = export(whole.findings(), tmp_path / "new" / "folder")
    trained = whole.configs[picked]
    runtime = trained.runtime.model_copy(update={"precision": "fp32"})
    assert trained.runtime.precision == "auto"
    assert load_config(paths.config) == trained.model_copy(update={"runtime": runtime})
    assert paths.weights.read_bytes() == f"weights of {picked}".encode()
    assert sorted(p.name for p in paths.config.parent.iterdir()) == ["best.safetensors", "best.yaml"]


def test_comments_say_where_it_comes_from(whole: RunBuilder, tmp_path: Path) -> None:
    text = comments(export(whole.findings(), tmp_path).config)
    picked = whole.trial(lambda2=0.1, lambda3=0.1, lambda4=0.1)
    for words in ("picked by criterion reference", "run sweep", picked, "torch: 2.11.0", "git: 0123abc", "sha256:9f2c"):
        assert words in text


def test_an_encoder_that_saw_labels_is_named(tmp_path: Path) -> None:
    axes = {"model.start": ["imagenet"], "model.start_sha256": ["f37072fd"], "model.start_labels": ["used"]}
    findings = RunBuilder(tmp_path / "run", axes={**axes, "loss.lambda2": [0.0, 0.1]}).finish_all().findings()
    sentence = "Its encoder starts from imagenet, which was trained with labels."
    assert f"# {sentence}\n" in comments(export(findings, tmp_path / "out").config)
    assert wording.encoder_starts(findings) == [sentence]
    assert sentence in write_report(findings).read_text()


def test_the_best_configuration_goes_into_the_run_folder(small: RunBuilder) -> None:
    paths = write_best(small.finish_all().findings())
    assert (paths.config, paths.weights) == small.run.best_files
    assert "the lowest of seeds 0, 1" in comments(paths.config)


def test_the_baseline_is_the_base_encoder_of_the_pick(small: RunBuilder, tmp_path: Path) -> None:
    findings = small.finish_all().findings()
    assert findings.pick
    config = small.configs[findings.pick.representative]
    base = small.run.base(base_hash(config))
    base.weights_file.write_bytes(b"weights of the base encoder")
    paths = export_baseline(findings, tmp_path)
    assert (paths.config.name, paths.weights.name) == ("baseline.yaml", "baseline.safetensors")
    assert paths.weights.read_bytes() == b"weights of the base encoder"
    assert base_hash(load_config(paths.config)) == base.hash
    assert f"base encoder {base.hash}" in comments(paths.config)
    assert "test scores: acc 0.6" in comments(paths.config)


def test_a_baseline_without_weights_is_refused(small: RunBuilder, tmp_path: Path) -> None:
    findings = small.finish_all().findings()
    with pytest.raises(CheckpointError, match=r"base encoder \w+ is finished, and .* --retrain \w+` makes it anew"):
        export_baseline(findings, tmp_path)
    with pytest.raises(MixemError, match="no configuration has all its trials finished"):
        export_baseline(RunBuilder(tmp_path / "empty").findings(), tmp_path)


def test_a_trial_is_exported_by_its_prefix(small: RunBuilder, tmp_path: Path) -> None:
    trial = list(small.finish_all(labels=False).configs)[5]
    paths = export(small.findings(), tmp_path, trial[:8])
    assert load_config(paths.config).loss == small.configs[trial].loss
    assert "not picked" in comments(paths.config)
    assert "no labels" in comments(paths.config)


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ("zzz", "--trial: 'zzz' is none of the trials, which are .*{failed}"),
        ("", "fits several of the trials"),
        ("{failed}", "is failed"),
        ("{pending}", "is pending"),
        ("../trials/{failed}", "is none of the trials"),
    ],
)
def test_only_a_finished_trial_is_exported(small: RunBuilder, tmp_path: Path, trial: str, words: str) -> None:
    failed, pending, *_ = small.configs
    small.finish_all(skip=(failed, pending))
    small.fail(failed)
    names = {"failed": failed, "pending": pending}
    with pytest.raises(ConfigError, match=words.format(**names)):
        export(small.findings(), tmp_path, trial.format(**names))
    assert not list(tmp_path.glob("best.*"))


def test_without_a_pick_nothing_is_exported(small: RunBuilder) -> None:
    with pytest.raises(MixemError, match="none to pick"):
        write_best(small.findings())


def test_absent_weights_are_an_error(small: RunBuilder) -> None:
    for trial in small.finish_all().configs:
        small.folder(trial).weights_file.unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: no such file; trial \w+ is finished.*retrain"):
        write_best(small.findings())
    assert not small.run.best_files[0].exists()


def test_weights_that_were_cut_short_are_not_exported(small: RunBuilder, tmp_path: Path) -> None:
    hash, *_ = small.finish_all().configs
    file = small.folder(hash).weights_file
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=rf"{hash}/weights\.safetensors: damaged.*--retrain {hash}`"):
        export(small.findings(), tmp_path, hash)
    assert not list(tmp_path.glob("best.*"))


def test_the_weights_of_an_old_trial_are_exported_with_a_warning(
    small: RunBuilder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hash, *_ = small.finish_all().configs
    change_record(small.folder(hash).result_file, "weights_sha256", None)
    assert export(small.findings(), tmp_path, hash).weights.read_bytes() == f"weights of {hash}".encode()
    assert "no record keeps a checksum" in caplog.text


def test_comments_cannot_break_out_of_their_lines(small: RunBuilder) -> None:
    for trial in small.finish_all().configs:
        evil = "x\nseed: 99\u2028seed: 98\x85\x00\x1b[31m"
        change_record(small.folder(trial).result_file, "provenance.hardware", evil)
    small.spec(name="evil\nseed: 97")
    assert load_config(write_best(small.findings()).config).seed == 0


def test_an_interrupted_export_leaves_the_old_one(small: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_best(small.finish_all().findings()).config.read_text()

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "write_bytes", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_best(small.findings())
    assert small.run.best_files[0].read_text() == before
    assert not list(small.path.glob(".*"))
