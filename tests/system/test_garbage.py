from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cnn_registry.system import garbage


@pytest.fixture(autouse=True)
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that collects garbage, and exempts nothing."""
    monkeypatch.setattr(garbage, "_exempt", False)
    before = gc.isenabled()
    gc.enable()
    yield
    if not before:
        gc.disable()


def test_garbage_is_not_searched_for_during_an_import_but_after_it() -> None:
    frozen = gc.get_freeze_count()
    with garbage.importing():
        assert not gc.isenabled()
        with garbage.importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_it_is_searched_for_again_after_an_import_that_failed() -> None:
    with pytest.raises(ImportError), garbage.importing():
        raise ImportError
    assert gc.isenabled()


def test_whoever_has_switched_the_search_off_keeps_it_off() -> None:
    gc.disable()
    with garbage.importing():
        pass
    assert not gc.isenabled()


def test_what_a_command_has_imported_is_exempt(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = gc.get_freeze_count()
    garbage.exempt_imports()
    with garbage.importing():
        kept = [[number] for number in range(1000)]
    assert gc.get_freeze_count() >= frozen + len(kept)
    assert gc.isenabled()
