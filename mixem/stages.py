"""The two training stages as objects: what SimCLR pre-training and MIX'EM have of their own (paper sections 2 to 6).

Everything else about them is the same: `mixem.training` trains either, `mixem.experiment` records either.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, NamedTuple

import torch
from torch import Tensor, nn

from mixem.config import Config, StageConfig
from mixem.data.dataset import Dataset
from mixem.errors import CheckpointError
from mixem.losses import LossTerms
from mixem.model import MixtureModel, SimCLR, build, transfer_encoder
from mixem.records import BaseRecord, StageRecord, TrialRecord
from mixem.run import BaseFolder, Run, StageFolder, StageName, TrialFolder
from mixem.runtime import derive_seed
from mixem.scoring.assignments import CENTRES, assign_all, write_assignments
from mixem.scoring.clustering import (
    cluster_baselines,
    cluster_mixture,
    collapse_warnings,
    describe_clusterings,
    embed,
    score_starts,
)
from mixem.scoring.exhibits import write_clusters, write_embedding, write_examples
from mixem.scoring.label_free import label_free
from mixem.scoring.probes import probe
from mixem.settings import base_hash, config_hash
from mixem.step import Objective, mixem_terms, simclr_terms


class Finish(NamedTuple):
    """What the end of a stage comes to."""

    results: dict[str, Any]
    """The stage's own part of the record."""
    tensors: Mapping[str, Tensor]
    """What is kept among the weights."""


class Stage(ABC, Generic[StageRecord]):
    """One of the two stages."""

    name: ClassVar[StageName]
    """The section of the configuration that sets it, and part of the seed of all that it draws."""
    terms: ClassVar[tuple[str, ...]]
    """The loss terms that it has."""
    record: type[StageRecord]
    """What its result is."""

    def settings(self, config: Config) -> StageConfig:
        """How it trains."""
        settings: StageConfig = getattr(config, self.name)
        return settings

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """Its loss terms as a function of its model's output."""

    @abstractmethod
    def folder(self, run: Run, config: Config) -> StageFolder[StageRecord]:
        """Where its record lies in a run folder, by the hash of what determines it."""

    @abstractmethod
    def build(self, config: Config, base: Mapping[str, Tensor] | None) -> nn.Module:
        """Its model as training begins, on the CPU.

        `base`: stage 1's weights or, in stage 1, those of the encoder that it starts from. Raises CheckpointError where
        they are needed and absent, or do not fit.
        """

    @abstractmethod
    def finish(
        self, model: nn.Module, validation: Tensor, dataset: Dataset, config: Config, folder: StageFolder[StageRecord]
    ) -> Finish:
        """Score the trained model, and write what is to be kept beside its weights.

        `validation`: the validation images (N, C, H, W) uint8.
        """

    def _seed(self, config: Config) -> int:
        """Of the initial weights."""
        return derive_seed(config.seed, self.name, "weights")


class Pretrain(Stage[BaseRecord]):
    """Stage 1, SimCLR: the base encoder, and the baselines on its features."""

    name = "pretrain"
    terms = ("contrastive",)
    record = BaseRecord
    objective = staticmethod(simclr_terms)

    def folder(self, run: Run, config: Config) -> BaseFolder:
        """RUN/base/HASH, shared by all trials that need the same base encoder."""
        return run.base(base_hash(config))

    def build(self, config: Config, base: Mapping[str, Tensor] | None = None) -> SimCLR:
        """An encoder and a projection head with random weights; the encoder's are `base`, where it starts from some."""
        model = build(SimCLR, config.model, config.data.channels, self._seed(config))
        if config.model.start is not None:
            if base is None:
                raise CheckpointError(f"stage 1 starts from {config.model.start}; its weights were not given")
            transfer_encoder(model, base, f"model.start {config.model.start}")
        return model

    def finish(
        self, model: nn.Module, validation: Tensor, dataset: Dataset, config: Config, folder: BaseFolder
    ) -> Finish:
        """Score K-means on the features and on pixels, and probes that use labels; write the clusters."""
        test = dataset.pool("test")
        embedding = embed(model, test.images, config)
        clusterings, starts = cluster_baselines(embedding, test, config)
        write_clusters(folder.clusters_file, clusterings, test.labels)
        results = {
            "base": folder.hash,
            "scores": describe_clusterings(clusterings, test),
            "restarts": score_starts(starts, test),
            "supervised": probe(model, embedding, dataset, config),
        }
        return Finish(results, {})


class MixEM(Stage[TrialRecord]):
    """Stage 2: the mixture of embeddings on a base encoder."""

    name = "train"
    terms = LossTerms._fields
    record = TrialRecord
    objective = staticmethod(mixem_terms)

    def folder(self, run: Run, config: Config) -> TrialFolder:
        """RUN/trials/HASH."""
        return run.trial(config_hash(config))

    def build(self, config: Config, base: Mapping[str, Tensor] | None) -> MixtureModel:
        """Stage 1's encoder, and component and mixing heads with random weights."""
        if base is None:
            raise CheckpointError("stage 2 starts from a base encoder; none was given")
        model = build(MixtureModel, config.model, config.data.channels, self._seed(config))
        transfer_encoder(model, base)
        return model

    def finish(
        self, model: nn.Module, validation: Tensor, dataset: Dataset, config: Config, folder: TrialFolder
    ) -> Finish:
        """Cluster the test split, assign every picture, write embedding and examples; measure what needs no labels."""
        test = dataset.pool("test")
        embedding = embed(model, test.images, config)
        clusterings, centres = cluster_mixture(embedding, config)
        criteria = label_free(model, validation, config)
        write_embedding(folder.embedding_file, embedding, clusterings["mixem"], test.labels)
        write_examples(folder.examples_file, embedding, test, config)
        write_assignments(folder.assignments_file, *assign_all(model, embedding, centres, dataset, config))
        results = {
            "trial": folder.hash,
            "base": base_hash(config),
            "scores": describe_clusterings(clusterings, test),
            "label_free": criteria,
            "warnings": tuple(collapse_warnings(clusterings, config.model.components)),
        }
        return Finish(results, {CENTRES: torch.from_numpy(centres)})


PRETRAIN, MIXEM = Pretrain(), MixEM()
STAGES: dict[StageName, Stage[Any]] = {PRETRAIN.name: PRETRAIN, MIXEM.name: MIXEM}
"""Both stages by name."""
