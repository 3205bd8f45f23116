"""S3 that may be unreachable for a while: every request is sent again until it is answered, for about two minutes."""

import time
from typing import Any

from botocore.exceptions import ConnectionError, HTTPClientError
from s3fs import S3FileSystem

RETRY_SECONDS = 120.0
"""Seconds after which a request is given up, counted from its first failure."""
MAX_PAUSE = 5.0
"""The longest pause between two attempts, in seconds; the first is 0.2, and each doubles."""
RETRYABLE_STATUS = (408, 429, 500, 502, 503, 504)
"""HTTP statuses after which a request may succeed the next time."""


class RetryingS3(S3FileSystem):
    """s3fs with retries by the clock; botocore's share a quota, which requests side by side use up in seconds."""

    retries = 2  # s3fs's own: a content that breaks off is asked for once more

    async def set_session(self, *args: Any, **kwargs: Any) -> Any:
        """The client that all requests go through; it asks `pause` after each attempt."""
        client = await super().set_session(*args, **kwargs)
        client.meta.events.register("needs-retry.s3", pause, unique_id="mixem-retries")
        return client


def pause(
    attempts: int,
    response: tuple[Any, dict[str, Any]] | None,
    caught_exception: Exception | None,
    request_dict: dict[str, Any],
    **_: object,
) -> float | None:
    """Seconds until a request is sent again. If None, it is answered, refused for good, or given up."""
    if response:
        answer, content = response
        retryable = answer.status_code in RETRYABLE_STATUS or content.get("Error", {}).get("Code") == "RequestTimeout"
    else:
        retryable = isinstance(caught_exception, (ConnectionError, HTTPClientError))
    if not retryable:
        return None
    end = request_dict["context"].setdefault("retries_end", time.monotonic() + RETRY_SECONDS)
    return min(0.1 * 2**attempts, MAX_PAUSE) if time.monotonic() < end else None
