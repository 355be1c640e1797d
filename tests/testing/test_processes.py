"""Questions to another process, one of which is interrupted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnn_registry.testing import processes


class Fake:
    """A process that is interrupted at its first question."""

    made: list[Fake]

    def __init__(self, backend_name: str) -> None:
        self.memory, self.killed = 0, False
        self.made.append(self)

    def ask(self, question: dict[str, Any]) -> dict[str, str]:
        if len(self.made) == 1:
            raise KeyboardInterrupt
        return {"import": question["name"]}

    def kill(self) -> None:
        self.killed = True


def test_the_answer_to_an_interrupted_question_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "made", [], raising=False)
    monkeypatch.setattr(processes, "Process", Fake)
    monkeypatch.setattr(processes, "_running", {})
    model: Any = SimpleNamespace(save_weights=lambda path: None)
    with pytest.raises(KeyboardInterrupt):
        processes.ask("tensorflow", model, np.zeros(1), keras_file=False, name="first")
    for name in ("second", "third"):
        answer = processes.ask("tensorflow", model, np.zeros(1), keras_file=False, name=name)
        assert answer.faults == {"import": name}
    assert [made.killed for made in Fake.made] == [True, False], "the second one answers all further questions"
