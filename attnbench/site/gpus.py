"""GPU against GPU: the cases that two models share, with the ratio that their rooflines foresee."""

from collections.abc import Sequence
from itertools import combinations

from attnbench.db.store import Store
from attnbench.errors import NotComparable, UsageError
from attnbench.reporting.html.gpu_diff import GpuPart, gpu_parts
from attnbench.reporting.html.page import PageData
from attnbench.results.gpu_diff import diff_gpus
from attnbench.site.files import Files


def write_gpus(files: Files, store: Store, names: Sequence[str]) -> None:
    """Write the page of all pairs of GPUs with common cases."""
    parts: list[GpuPart] = []
    for base, head in combinations(sorted(names), 2):
        try:
            found = diff_gpus(store, f"gpu:{base}", f"gpu:{head}")
        except (NotComparable, UsageError):  # without a common case, or a name of several models
            continue
        parts += gpu_parts(found, f"pair{len(parts)}")
    data = PageData([part.plot for part in parts], [part.table for part in parts])
    files.page("gpus", "site_gpus.html", data, {"parts": parts, "count": len(names)})
