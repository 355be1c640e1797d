"""List the versions in ``build/site``, each a folder, for the selector at the top of each page, and lead to the newest.

The selector reads ``versions.json`` in the form of mike. Put what has been published before beside the new version, so
that it is listed as well.
"""

from __future__ import annotations

import json
from pathlib import Path

from packaging.version import InvalidVersion, Version

SITE = Path(__file__).parents[1] / "build" / "site"

INDEX = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>cnn_registry</title>
<meta http-equiv="refresh" content="0; url={newest}/index.html">
<a href="{newest}/index.html">cnn_registry {newest}</a>
</html>
"""


def main(site: Path = SITE) -> None:
    """Write ``versions.json`` and ``index.html``.

    Args:
        site: the folder of the versions.
    """
    versions = [str(version) for version in sorted(found(site), reverse=True)]
    listed = [{"version": name, "title": name, "aliases": ["latest"] * (name == versions[0])} for name in versions]
    (site / "versions.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    (site / "index.html").write_text(INDEX.format(newest=versions[0]), encoding="utf-8")


def found(site: Path) -> list[Version]:
    """The versions of which there is a site."""
    versions = []
    for page in site.glob("*/index.html"):
        try:
            versions.append(Version(page.parent.name))
        except InvalidVersion:
            continue
    return versions


if __name__ == "__main__":
    main()
