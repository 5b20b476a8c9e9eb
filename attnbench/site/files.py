"""The files of a site: written only where their contents change."""

import json
from collections.abc import Mapping
from pathlib import Path

from attnbench.errors import AttnbenchError
from attnbench.reporting.html.page import PageData, markup, script, style
from attnbench.whole_file import part_of


class Files:
    """A site's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = 0

    def write(self, name: str, text: str) -> None:
        """Write a file if it is new or its text changed; AttnbenchError if it cannot be."""
        path, content = self.folder / name, text.encode()
        if path.is_file() and path.read_bytes() == content:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part_of(path) as part:
                part.write_bytes(content)
        except OSError as error:
            why = error.strerror or error
            raise AttnbenchError(f"{path} could not be written: {why}") from error
        self.written += 1

    def page(self, name: str, template: str, data: PageData, values: Mapping[str, object]) -> None:
        """Write a page and its data, a script that assigns: a page from a disk may not fetch."""
        root = "../" * name.count("/")
        text = json.dumps(data.as_json(), separators=(",", ":"), allow_nan=False)
        own = f"{name.rpartition('/')[2]}.js"
        self.write(f"{name}.js", f"globalThis.attnbenchData = {text};\n")
        self.write(f"{name}.html", markup(template, {**values, "root": root, "script_file": own}))

    def assets(self) -> None:
        """Write the style sheet and the script that all pages share."""
        self.write("assets/attnbench.css", style())
        self.write("assets/attnbench.js", script())
        self.write(".nojekyll", "")  # GitHub Pages publishes the files as they are

    def remove(self, name: str) -> None:
        """Remove a page with its data."""
        for suffix in ("html", "js"):
            (self.folder / f"{name}.{suffix}").unlink(missing_ok=True)
