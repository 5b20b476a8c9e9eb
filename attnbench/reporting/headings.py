"""The lines above a table of a cohort."""

from attnbench.reporting.text_table import Style, heading
from attnbench.results.cohort import Cohort


def cohort_heading(cohort: Cohort, style: Style, width: int) -> str:
    """The facts that all rows share, including their runs."""
    return heading([cohort.origin, cohort.shared], style, width)


def heading_with_batch(cohort: Cohort, style: Style, width: int) -> str:
    """The heading of a table that has batches only if rows differ in them."""
    gap = "\n\n" if style == "markdown" else "\n"
    return gap.join(filter(None, [cohort_heading(cohort, style, width), cohort.shared_batch]))
