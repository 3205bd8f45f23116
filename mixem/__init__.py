"""MIX'EM: unsupervised image classification using a mixture of embeddings (Varamesh & Tuytelaars, 2020).

The method by itself: configuration, datasets, augmentation, model, losses, training, scores. It knows nothing of
Ray, Optuna, pandas or matplotlib.

    import mixem
    config = mixem.preset("digits")                   # or mixem.load_config("best.yaml")
    folder = mixem.train(config, "runs/single")       # the base encoder first, where it is missing
    model = mixem.load_model(folder.path)
    model.predict(["a.jpg", "b.png"]).cluster         # where pictures belong

The names below are loaded when they are first used: configurations are read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixem.config import Config
    from mixem.data.image_set import ImageSet
    from mixem.settings import load_config, preset
    from mixem.standalone import evaluate, pretrain, train
    from mixem.trained import load_model

__version__ = "0.2.0.dev0"

__all__ = ["Config", "ImageSet", "evaluate", "load_config", "load_model", "preset", "pretrain", "train"]

_HOMES = {
    "Config": "mixem.config",
    "ImageSet": "mixem.data.image_set",
    "evaluate": "mixem.standalone",
    "load_config": "mixem.settings",
    "load_model": "mixem.trained",
    "preset": "mixem.settings",
    "pretrain": "mixem.standalone",
    "train": "mixem.standalone",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
