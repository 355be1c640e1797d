"""The commands that come with this library, in the order in which people meet them."""

COMMANDS = (
    "list",
    "info",
    "augmented",
    "train",
    "launch",
    "lr-find",
    "tune",
    "evaluate",
    "predict",
    "embed",
    "export",
    "push",
    "explain",
    "report",
    "compare",
    "runs",
    "serve",
    "new",
    "check",
    "pack",
    "datasets",
    "data",
    "recipes",
    "cache",
    "doctor",
)

SLOW = frozenset(
    {"info", "augmented", "train", "lr-find", "tune", "evaluate", "predict", "embed", "export", "push", "explain"}
    | {"report", "compare", "serve", "check", "pack", "data", "doctor"}
)
"""Those that say that they have started, as they read many files or import Keras. None of them asks anything."""
