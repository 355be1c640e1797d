"""``cnnreg new``."""

from __future__ import annotations

from pathlib import Path

import click

from cnn_registry.text import shell_path

from .commands import COMMANDS
from .common import common_options
from .output import tell

TEMPLATES = ("plain", "residual", "inception", "recipe", "command")


@click.command("new")
@click.argument("name")
@click.option("--dataset", is_flag=True, help="Write a dataset package instead of a model package.")
@click.option(
    "--template", type=click.Choice(TEMPLATES), help="Network to start from, or what else to provide.  [default: plain]"
)
@click.option("--models", metavar="A,B,...", help="Models of a package that provides several.  [default: NAME]")
@click.option("--author", help="Author in the metadata and the licence.  [default: The cnnreg-NAME authors]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default=True,
    help="Directory in which the folder cnnreg-NAME is made.",
)
@common_options
def command(name: str, dataset: bool, template: str | None, models: str | None, author: str | None, out: Path) -> None:
    """Write a new plugin package.

    It provides the model, recipe or command NAME, or several --models, and is ready to install, change and publish.
    """
    from cnn_registry.scaffold.new import new_package

    if dataset and template:
        raise click.UsageError("--template is for models, not for --dataset.", click.get_current_context())
    if dataset and models is not None:
        raise click.UsageError("--models is for models, not for --dataset.", click.get_current_context())
    typed = name.replace("_", "-")
    if template == "command" and typed in COMMANDS:
        raise click.UsageError(f"cnnreg has a command {typed!r}; choose another name.", click.get_current_context())
    several = [] if models is None else [model.strip() for model in models.split(",")]
    chosen = "dataset" if dataset else template or "plain"
    folder = new_package(name, template=chosen, models=several, author=author, out=out)
    tell(f"Wrote {folder}. Next:")
    tell(f"  cd {shell_path(folder)}", wrap=False)
    tell("  pip install -e .")
    tell(f"  cnnreg {f'check --plugin {folder.name}' if several else _first_use(name, chosen)}")


def _first_use(name: str, template: str) -> str:
    """What to try first with an installed package."""
    uses = {
        "dataset": f"check --dataset {name}",
        "recipe": f"recipes {name}",
        "command": f"{name.replace('_', '-')} --help",
    }
    return uses.get(template, f"check {name}")
