"""``cnnreg compare``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import RunType, common_options, json_option, wide_option
from .output import print_json, tell
from .table import Column, print_table


@click.command("compare")
@click.argument("runs", type=RunType(), nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The HTML file to write (default: comparison.html beside the first run, or here if that is on a hub).",
)
@wide_option
@json_option
@common_options
def command(runs: tuple[str | Path, ...], out: Path | None, wide: bool, as_json: bool) -> None:
    """Compare RUNS: settings that differ, results on the same images, speed and size, as a table and as a page.

    McNemar's test says whether one is really better on the validation images, which have to be the same.
    """
    from cnn_registry.report.compare import PAGE, cells, compare_runs, shown_columns, write_comparison
    from cnn_registry.report.render import check_page
    from cnn_registry.runs.run import load_run

    beside = Path() if isinstance(runs[0], str) else runs[0].absolute().parent
    path = out or beside / PAGE
    check_page(path)
    comparison = compare_runs([load_run(run) for run in runs])
    write_comparison(comparison, path)
    rows = comparison.rows()
    letters = [row["letter"] for row in rows]
    if as_json:
        print_json(
            {
                "runs": rows,
                "same_images": comparison.same_images,
                "pairs": [
                    {
                        "first": verdict.first,
                        "second": verdict.second,
                        "only_first": verdict.test.only_first,
                        "only_second": verdict.test.only_second,
                        "p": verdict.p,
                        "exact": verdict.test.exact,
                    }
                    for verdict in comparison.verdicts
                ],
                "settings": [dict(zip(("setting", *letters), row, strict=True)) for row in comparison.settings],
                "page": str(path),
            }
        )
        return
    for row in rows:
        tell(f"{row['letter']}: {row['run']}", wrap=False)
    found = shown_columns(rows)
    numbers = [key not in ("letter", "model") for _, key in found]
    ranks = {"training_seconds": 3, "parameters": 2, "bytes": 4, "ms_single": 1, "low": 5}
    headings = [
        Column(title, number=number, rank=ranks.get(key, 0))
        for (title, key), number in zip(found, numbers, strict=True)
    ]
    print_table(headings, [cells(row, found) for row in rows], wide=wide)
    for verdict in comparison.verdicts:
        tell(verdict.text)
    if comparison.settings:
        shown = [Column("setting that differs"), *(Column(letter, at_least=10) for letter in letters)]
        print_table(shown, comparison.settings, wide=wide)
    tell(f"page: {path}", wrap=False)
