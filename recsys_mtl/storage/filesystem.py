"""From a URI's scheme to pyarrow's file system; endpoint and credentials are the environment's.

Functions import pyarrow: a command that reads no data does without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from recsys_mtl.errors import wrong

if TYPE_CHECKING:
    import pyarrow.fs as pafs

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
WHOLE_AT_CLOSE = ("s3", "gs", "gcs")
"""Where an object appears when its upload is complete; elsewhere a file grows in sight."""
_CONNECT_S, _ATTEMPTS = 5.0, 3
_RETRY = timedelta(seconds=15)
_AZURE = "account and container, and AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET"
_HADOOP = "the name node, HADOOP_HOME, JAVA_HOME and CLASSPATH"
_CHECK = {
    "s3": "the bucket, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or profile or role), "
    "AWS_REGION and AWS_ENDPOINT_URL",
    "gs": "the bucket and GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "the bucket and GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": _AZURE,
    "abfss": _AZURE,
    "hdfs": _HADOOP,
    "viewfs": _HADOOP,
}


@lru_cache
def filesystem_of(store: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a store, and what it calls the store's root.

    Args:
        store: scheme and authority, `s3://bucket`.

    Raises:
        UserError: the file system cannot be made.
    """
    import pyarrow.fs as pafs

    scheme, authority = store.split("://", 1)
    with access_errors(store):
        if scheme == "s3":
            return _s3(authority), authority
        if scheme in ("gs", "gcs"):
            return pafs.GcsFileSystem(retry_time_limit=_RETRY), authority
        filesystem, root = pafs.FileSystem.from_uri(f"{store}/")
        return filesystem, root.rstrip("/")


@contextmanager
def access_errors(uri: object) -> Iterator[None]:
    """A store that cannot be reached or refuses is a `UserError`; a missing object stays as it is.

    Args:
        uri: what was accessed.
    """
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        check = _CHECK[str(uri).split("://", 1)[0]]
        found = str(error).split("\n", 1)[0]
        raise wrong(f"cannot access '{uri}'", found=found, fix=f"check {check}") from error


def _s3(bucket: str) -> pafs.S3FileSystem:
    """With the endpoint and the region of the environment; else the region is the bucket's own."""
    import pyarrow.fs as pafs

    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = urlsplit(next(filter(None, map(os.environ.get, variables)), ""))
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not (region or endpoint.netloc):
        with suppress(OSError):
            region = pafs.resolve_s3_region(bucket)
    return pafs.S3FileSystem(
        region=region,
        scheme=endpoint.scheme or None,
        endpoint_override=endpoint.netloc or None,
        connect_timeout=_CONNECT_S,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )
