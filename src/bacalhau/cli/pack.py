"""Small files and directories of this machine, packed into the job itself."""

import base64
import gzip
import io
import os
import tarfile

from bacalhau.model.job import SpecConfig

PACK_LIMIT = 1024 * 1024
"""Bytes of content that travel in a job; the server's limit for specs is near."""

PLAIN_MAX = 512
"""Modules up to this size travel as they are, larger ones compressed, as in Bacalhau."""


def pack(path: str) -> SpecConfig:
    """A source that brings the file or directory to the node. Raises ValueError."""
    whole = os.path.expanduser(path)
    if not os.path.exists(whole):
        raise ValueError(f"{path} does not exist on this machine; {_NODE_HINT}")
    size = _size(whole)
    if size > PACK_LIMIT:
        raise ValueError(
            f"{path} holds {size} bytes, more than the {PACK_LIMIT} that travel with a job; "
            f"{_NODE_HINT}"
        )
    if os.path.isdir(whole):
        return _inline("application/gzip", _archive(whole))
    with open(whole, "rb") as file:
        return _inline("application/octet-stream", file.read())


def pack_module(path: str) -> SpecConfig:
    """A source that brings a wasm module: up to 512 bytes plain, else a gzipped tar."""
    size = os.path.getsize(path)
    if size <= PLAIN_MAX:
        with open(path, "rb") as file:
            return _inline("application/octet-stream", file.read())
    if size > 100 * PACK_LIMIT:
        raise ValueError(f"{path} is too large ({size} bytes) to travel with a job; {_URL_HINT}")
    packed = _archive(path)
    if len(packed) > PACK_LIMIT:
        raise ValueError(
            f"{path} has {len(packed)} bytes when compressed, more than the {PACK_LIMIT} that "
            f"travel with a job; {_URL_HINT}"
        )
    return _inline("application/gzip", packed)


_NODE_HINT = "for data that lies on the node write file:///absolute/path:/target"
_URL_HINT = "serve it by URL and give https://host/module.wasm"


def _inline(media_type: str, data: bytes) -> SpecConfig:
    encoded = base64.b64encode(data).decode()
    return SpecConfig(type="inline", params={"URL": f"data:{media_type};base64,{encoded}"})


def _size(path: str) -> int:
    """Bytes of all files below; counting ends once the limit is passed."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(directory, name)).st_size
            if total > PACK_LIMIT:
                return total
    return total


def _archive(path: str) -> bytes:
    """A gzipped tar of the file, or of what the directory holds; the same for equal content."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                archive.add(os.path.join(path, name), arcname=name, filter=_anonymous)
        else:
            archive.add(path, arcname=os.path.basename(path), filter=_anonymous)
    return buffer.getvalue()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of this machine's users and clock."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
