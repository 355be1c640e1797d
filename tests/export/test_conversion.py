"""What a conversion does to the process, which other threads share."""

from __future__ import annotations

import logging
import os
import threading

from cnn_registry.export.conversion import hidden_output


def test_threads_hide_output_one_after_the_other_and_the_process_is_as_before() -> None:
    first, second, go_on = threading.Event(), threading.Event(), threading.Event()
    before = os.fstat(2), logging.root.manager.disable

    def hide(entered: threading.Event) -> None:
        with hidden_output():
            entered.set()
            go_on.wait(10)

    threads = [threading.Thread(target=hide, args=(entered,)) for entered in (first, second)]
    threads[0].start()
    assert first.wait(10)
    threads[1].start()
    assert not second.wait(0.1)
    go_on.set()
    for thread in threads:
        thread.join()
    assert second.is_set()
    after = os.fstat(2), logging.root.manager.disable
    assert (os.path.samestat(before[0], after[0]), before[1]) == (True, after[1])
