from __future__ import annotations

from pathlib import Path

import pytest

from cnn_registry import get_spec
from cnn_registry.errors import UsageError
from cnn_registry.networks.weights.source import address_digest, find_source


def test_published_weights_are_found_by_name(foreign: str) -> None:
    spec = get_spec(foreign)
    assert {name: find_source(spec, name).published for name in spec.weights} == dict(spec.weights)


@pytest.mark.parametrize(
    ("file", "names"),
    [("a.weights.h5", None), *((f"a{end}", "torchvision:IMAGENET1K_V1") for end in (".pth", ".pt", ".safetensors"))],
)
def test_a_file_is_explained_by_its_ending(foreign: str, tmp_path: Path, file: str, names: str | None) -> None:
    (tmp_path / file).touch()
    spec = get_spec(foreign)
    source = find_source(spec, tmp_path / file)
    assert (source.published, source.path) == (spec.weights[names] if names else None, tmp_path / file)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("keras:imagnet", r"has no weights 'keras:imagnet'\. Did you mean 'keras:imagenet'\? It has keras:imagenet, "),
        (
            "weights.h5",
            r"or name a run directory, hf://user/name, or a file that ends in \.weights\.h5, .*, \.safetensors\.$",
        ),
        ("missing.weights.h5", r"^There is no weights file missing\.weights\.h5\.$"),
        ("missing.pth", r"^There is no weights file missing\.pth\.$"),
    ],
)
def test_what_is_neither_is_refused(foreign: str, weights: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_source(get_spec(foreign), weights)


def test_a_model_without_names_in_pytorch_says_so(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").touch()
    with pytest.raises(UsageError, match=r"tiny does not say which names its layers have in PyTorch"):
        find_source(get_spec(tiny), tmp_path / "a.pth")
    with pytest.raises(
        UsageError,
        match=r"^tiny has no weights 'keras:imagenet'\. Name a run directory, hf://user/name, or a file that ends in",
    ):
        find_source(get_spec(tiny), "keras:imagenet")


def test_the_digest_of_an_address() -> None:
    assert address_digest("https://download.pytorch.org/models/vgg16-397923af.pth") == "397923af"
    assert address_digest("https://example.org/net-0123456789.safetensors") == "0123456789"
    assert address_digest("https://example.org/net.pth") is None
    assert address_digest("keras.applications:VGG16") is None
