"""What to do in place of a mistake: a file or folder of another kind than is needed, a key without its section."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixem.config import Config
from mixem.errors import ConfigError
from mixem.run import Run
from mixem.settings import read_yaml


def instead_of_folder(path: Path) -> str:
    """What to do with a folder that is no sweep's file."""
    if Run(path).is_there:
        shown = f"`mixem status {path}` and `mixem report {path}` show it"
        return f"a run folder, not a sweep's file; {shown}, and the file of its sweep makes it go on"
    return (
        "a folder, not a sweep's file; a sweep of the pictures in it is "
        f"`mixem sweep own_pictures --set data.root={path} --set model.components=NUMBER`"
    )


def instead_of_content(document: Any, path: Path) -> str:
    """What to do with a file whose content is no sweep."""
    if _is_config(document):
        return f"it is a configuration, which `mixem train {path}` trains"
    return "it stands under the key metadata.sweep of a YAML file; `mixem init digits` writes one to begin with"


def kind_of_file(path: Path) -> str:
    """What a file is that stands where a folder is needed, and the command that takes it."""
    try:
        document = read_yaml(path)
    except ConfigError:
        return "a file"
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    if isinstance(metadata, Mapping) and "sweep" in metadata:
        return f"a sweep's file, which `mixem sweep {path}` runs"
    return f"a configuration, which `mixem train {path}` trains" if _is_config(document) else "a file"


def _is_config(document: Any) -> bool:
    return isinstance(document, Mapping) and bool(document.keys() & {"preset", *Config.model_fields})


def keys_ending_in(name: str) -> list[str]:
    """The keys in a configuration's sections that end so, such as loss.lambda2 of lambda2."""
    fields = Config.model_fields.items()
    return [f"{key}.{name}" for key, field in fields if name in getattr(field.annotation, "model_fields", {})]
