"""The commands that come with this library, in the order in which people meet them."""

COMMANDS = (
    "list",
    "info",
    "train",
    "lr-find",
    "tune",
    "evaluate",
    "predict",
    "embed",
    "export",
    "explain",
    "report",
    "compare",
    "runs",
    "serve",
    "new",
    "check",
    "datasets",
    "recipes",
    "cache",
    "doctor",
)
