from __future__ import annotations

from pathlib import Path

import pytest

from cnn_registry.system.paths import cache_root, datasets_dir, decoded_dir, weights_dir


def test_the_environment_chooses_the_folder(own_cache: Path) -> None:
    assert cache_root() == own_cache
    assert {datasets_dir().parent, decoded_dir().parent, weights_dir().parent} == {own_cache}
    assert len({datasets_dir(), decoded_dir(), weights_dir()}) == 3


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_CACHE", "~/pictures")
    assert cache_root() == Path.home() / "pictures"


def test_without_a_choice_it_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CNNREG_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root().name == "cnn_registry"
    assert tmp_path in cache_root().parents
