from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn_registry import push
from tests.hub.fake import TOKEN, Hub, Repository

NAME = "hf://user/colours"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of the test's own, and a token that may write there."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which the fake does not speak
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "HF_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / "hub" / name))
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template.replace(constants.ENDPOINT, server.url))
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def pushed_files() -> dict[str, bytes]:
    """The files of the repository in `published`, after it was first used."""
    return {}


@pytest.fixture
def published(hub: Hub, trained: Path, pushed_files: dict[str, bytes]) -> Repository:
    """The repository that ``trained`` was pushed to. It is pushed once for all tests."""
    if not pushed_files:
        push(trained, NAME, license="mit")
        pushed_files.update(hub.repositories["user/colours"].head())
    repository = hub.repositories["user/colours"] = Repository()
    repository.commit(pushed_files)
    return repository
