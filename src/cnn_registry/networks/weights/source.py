"""What ``weights=`` means for a model: published weights that its spec names, or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_registry.errors import UsageError
from cnn_registry.registry.spec import ModelSpec, Pretrained
from cnn_registry.system.hub import SCHEME, Address, hub_address, need_hub
from cnn_registry.text import suggestion

from .hub import fetched_weights
from .safetensors_file import is_ours, tensor_names
from .torch_file import need_reader

KERAS_FILE = ".weights.h5"
RUN_WEIGHTS = "best.weights.h5"
"""In a run directory, which stands for this file."""

TORCH_FILES = (".pth", ".pt", ".safetensors")

_ADDRESS = re.compile(r"https?://.*-([0-9a-f]{8,64})(\.pth|\.pt|\.safetensors)")


@dataclass(frozen=True)
class Source:
    """Where a model's weights come from.

    Attributes:
        name: as the user gave it.
        published: how to read weights with names other than ours; ``None`` for a file that Keras saved.
        path: the user's file; ``None`` for published weights.
    """

    name: str
    published: Pretrained | None
    path: Path | None = None

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The ``given`` options of a model's builder, with those that build the network that was trained.

        Raises:
            UsageError: the user asked for another network.
        """
        needed = self.published.options if self.published else {}
        for option, value in needed.items():
            if given.get(option, value) != value:
                raise UsageError(
                    f"The weights {self.name} belong to the network with {option}={value!r}; got {given[option]!r}. "
                    f"Leave {option} out, or use other weights."
                )
        return {**needed, **given}

    def check_reader(self) -> None:
        """Refuse weights that no installed library reads, before anything slow is done. Nothing is imported.

        Raises:
            MissingPackageError: the library is not installed.
        """
        name = self.path.name if self.path else self.published.origin if self.published else ""
        if name.startswith(SCHEME):
            need_hub(self.name)
        if name.endswith(TORCH_FILES):
            need_reader(name.rpartition("/")[2])


def address_digest(origin: str) -> str | None:
    """The first digits of the SHA-256 in the address of a state dict, or ``None`` for any other address."""
    match = _ADDRESS.fullmatch(origin)
    return match[1] if match else None


def published_address(published: Pretrained) -> Address | None:
    """The repository of a hub where published weights are, or ``None``."""
    return hub_address(published.origin) if published.origin.startswith(SCHEME) else None


def find_source(spec: ModelSpec, weights: str | Path) -> Source:
    """What ``weights`` means for the model of ``spec``. A repository of a hub is fetched; nothing else is downloaded.

    Raises:
        UsageError: neither published weights of the model nor an existing file, or run, that can be used for it.
        HubError, WeightsError, MissingPackageError: a repository cannot be fetched.
    """
    if published := spec.weights.get(str(weights)):
        return Source(str(weights), published)
    address = hub_address(weights)
    path = fetched_weights(address) if address else Path(weights)
    if (path / RUN_WEIGHTS).is_file():
        path /= RUN_WEIGHTS
    if not path.name.endswith((KERAS_FILE, *TORCH_FILES)):
        known = ", ".join(spec.weights)
        raise UsageError(
            f"{spec.name} has no weights {str(weights)!r}.{suggestion(str(weights), spec.weights)} "
            + (f"It has {known}; or name " if known else "Name ")
            + f"a run directory, hf://user/name, or a file that ends in {', '.join((KERAS_FILE, *TORCH_FILES))}."
        )
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    if path.name.endswith(KERAS_FILE) or (path.suffix == ".safetensors" and is_ours(path)):
        return Source(str(weights), None, path)
    if published := _nearest(path, spec.weights.values()):
        return Source(str(weights), published, path)
    raise UsageError(
        f"{spec.name} does not say which names its layers have in PyTorch, so it cannot use {path.name}; "
        f"it takes files that end in {KERAS_FILE}."
    )


def _nearest(path: Path, weights: Iterable[Pretrained]) -> Pretrained | None:
    """The first of the published state dicts whose names of layers occur most often in a file."""
    tables = [each for each in weights if address_digest(each.origin) or published_address(each)]
    if len(tables) < 2 or path.suffix != ".safetensors":
        return tables[0] if tables else None
    layers = {name.rpartition(".")[0] for name in tensor_names(path)}
    return max(tables, key=lambda table: len(layers & set(table.names().values())))
