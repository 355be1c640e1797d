"""Checks of the published weights that a model declares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cnn_registry.errors import BackendError, DownloadError, MissingPackageError, WeightsError
from cnn_registry.networks.build import build_model
from cnn_registry.networks.weights.source import address_digest, published_address
from cnn_registry.registry.spec import Pretrained
from cnn_registry.text import one_line, suggestion

from .outcome import CheckSkipped, failed
from .subject import Subject, layers_of

_WRONG_ADDRESS = re.compile(r"HTTP 4\d\d|: 4\d\d -- |is not the expected file")
"""What a server, or Keras, says where the address is wrong and another attempt would not help."""


def check_weights_table(subject: Subject) -> None:
    """The declared weights name functions that exist, options of the model and layers of its network."""
    for name, published in _declared(subject).items():
        if address_digest(published.origin) is None and published_address(published) is None:
            _require_function(f"origin of the weights {name!r}", published.origin, " or the address of a state dict")
        if published.classes:
            _require_function(f"classes of the weights {name!r}", published.classes)
        if unknown := published.options.keys() - subject.spec.options.keys():
            came = f"{min(unknown)!r}"
            fix = "Correct the options of the Pretrained."
            raise failed(f"the weights {name!r} to need options of the model", came, fix)
        _check_names(subject, name, published)


def _declared(subject: Subject) -> Mapping[str, Pretrained]:
    if not subject.spec.weights:
        raise CheckSkipped("it declares no weights")
    subject.graph()
    return subject.spec.weights


def _require_function(what: str, path: str, otherwise: str = "") -> None:
    """Raise if ``path`` is not the ``module:function`` of a function that can be imported."""
    module, _, function = path.partition(":")
    try:
        found = getattr(import_module(module), function)
    except Exception as error:  # the plugin's code, or no module at all
        raise failed(f"as {what} a 'module:function'{otherwise}", f"{path!r} ({one_line(error)})", _FIX) from error
    if not callable(found):
        raise failed(f"as {what} a function", f"{path!r}, a {type(found).__name__}", _FIX)


_FIX = "Correct the Pretrained."


def _check_names(subject: Subject, name: str, published: Pretrained) -> None:
    names = dict(published.names())
    if not names:  # all are those of the layers, and some networks are downloaded when they are built
        return
    options: dict[str, Any] = dict(published.options)
    forms = [options, options | {"aux_heads": True}] if subject.spec.aux_heads else [options]
    graphs = [subject.graph(None, published.num_classes, **form) for form in forms]
    known = {layer.name for graph in graphs for layer in layers_of(graph) if layer.weights}
    strange = [layer for layer in names if layer not in known]
    if strange and not known <= names.keys():  # a whole table may have names of other forms of the network as well
        hint = suggestion(strange[0], known)
        raise failed(
            f"the names of the weights {name!r} to be those of layers with weights", f"{strange[0]!r}.{hint}", _FIX
        )
    theirs = Counter(names.get(layer, layer) for layer in known)
    if twice := [layer for layer, count in theirs.items() if count > 1]:
        raise failed(f"each layer of the weights {name!r} in one place", f"{twice[0]!r} in {theirs[twice[0]]}", _FIX)


def check_weights_download(subject: Subject) -> None:
    """The declared weights can be downloaded, and fit the network."""
    not_opened = []
    for name, published in _declared(subject).items():
        try:
            build_model(subject.spec, num_classes=published.num_classes, weights=name)
        except WeightsError as error:
            raise failed(f"the weights {name!r} to fit the network", str(error), _FIX) from error
        except (BackendError, DownloadError, MissingPackageError) as error:
            if _WRONG_ADDRESS.search(str(error)):
                raise failed(f"the weights {name!r} at the declared address", str(error), _FIX) from error
            not_opened.append(f"{name}: {error}")
    if not_opened:
        raise CheckSkipped(" ".join(not_opened))
