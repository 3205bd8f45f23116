"""What Ray would tell others: credentials, which Tune puts into logs, and the token of its own, readable by all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ray._private.authentication.authentication_token_generator import generate_new_authentication_token
from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader
from ray.tune.execution import class_cache

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""What Tune would hand to workers in their runtime environment, of which Ray logs all."""


def keep_credentials() -> None:
    """Let each node's workers have the environment of that node alone, and no log the credentials of this one."""
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(CREDENTIALS)


def keep_token() -> None:
    """Write the token that a Ray of our own asks for, if there is none: for its owner's eyes only."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    loader = AuthenticationTokenLoader.instance()
    if loader.has_token(ignore_auth_mode=True):
        return
    folder = Path.home() / ".ray"
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".auth_token.")  # of mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(generate_new_authentication_token())
        with suppress(FileExistsError):  # another launch was faster
            os.link(name, folder / "auth_token")
    finally:
        Path(name).unlink()
    loader.reset_cache()
