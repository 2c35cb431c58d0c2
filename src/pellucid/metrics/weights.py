"""Weights of published networks: found in the usual places, read without unpickling, and where to get them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pellucid.metrics.errors import MetricError

FOLDERS = "PELLUCID_WEIGHTS"
MAX_BYTES = 2_000_000_000
COUNTERS = "num_batches_tracked"  # batch normalisation's own; some files have them, none is needed


@dataclass(frozen=True)
class WeightFile:
    """A file of weights that others published.

    Attributes:
        name: of the file; as is the custom, it ends with the first eight digits of the file's SHA-256.
        what: the network.
        url: where it is from.
        package: an installed package that brings it, and the folder inside.
        hint: another way to get it.
    """

    name: str
    what: str
    url: str
    package: tuple[str, str] | None = None
    hint: str = ""

    def find(self) -> Path:
        """The file: in a folder of $PELLUCID_WEIGHTS, in its package, or in PyTorch's own cache, in this order.

        Raises:
            MetricError: it is in none of them, or its hash is not the one in its name.
        """
        for folder in self._folders():
            path = folder / self.name
            if path.is_file():
                self._require_hash(path)
                return path
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        way = self.hint or f"Download {self.url}"
        raise MetricError(
            f"the weights of {self.what} are missing: {self.name}. {way}; the file belongs into {cache}, or into a "
            f"folder that the environment variable {FOLDERS} names"
        )

    def _folders(self) -> Iterable[Path]:
        yield from (Path(text) for text in os.environ.get(FOLDERS, "").split(os.pathsep) if text)
        if self.package:
            name, inside = self.package
            spec = importlib.util.find_spec(name)
            yield from (Path(place) / inside for place in (spec and spec.submodule_search_locations) or ())
        yield Path(torch.hub.get_dir()) / "checkpoints"

    def _require_hash(self, path: Path) -> None:
        expected = Path(self.name).stem.rpartition("-")[2]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(expected):
            raise MetricError(f"{path} is not the published file: its SHA-256 begins with {found[:8]}, not {expected}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, or of a PyTorch file read with weights_only; on the CPU.

    Raises:
        MetricError: the file is missing, damaged, larger than 2 GB, or holds anything else.
    """
    if not path.is_file():
        raise MetricError(f"there is no file of weights {path}")
    if path.stat().st_size > MAX_BYTES:
        raise MetricError(f"{path} is larger than the {MAX_BYTES:,} bytes that are read")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever their decoder meets first
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MetricError(f"{path} cannot be read as weights: {reason}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise MetricError(f"{path} holds no named tensors")
    return {str(name): value for name, value in content.items()}


def fill(network: nn.Module, weights: Mapping[str, Tensor], source: Path, ignored: Iterable[str] = ()) -> None:
    """Puts weights into a network: every one that it has, of its shape, and no others.

    Args:
        network: to be filled.
        weights: by name.
        source: the file that they are from, for the message.
        ignored: beginnings of names in the file that the network does without, such as a classifier's.

    Raises:
        MetricError: names are missing or left over, or shapes differ.
    """
    beginnings = tuple(ignored)
    given = {
        name: value
        for name, value in weights.items()
        if not name.endswith(COUNTERS) and not (beginnings and name.startswith(beginnings))
    }
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTERS)}
    wrong = sorted(wanted.keys() ^ given.keys())
    wrong = wrong or [name for name, value in wanted.items() if value.shape != given[name].shape]
    if wrong:
        raise MetricError(f"{source} does not fit the network: {len(wrong)} tensors differ, the first is {wrong[0]}")
    network.load_state_dict(given, strict=False)
