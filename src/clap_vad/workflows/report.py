"""One self-contained page about a run: ``clap report``."""

from __future__ import annotations

from pathlib import Path

from ..reporting.page import write_page
from ..reporting.run import run_sections, run_subtitle
from ..reporting.run_files import read_run

__all__ = ["report"]

_FOOTER = (
    "This page is complete in itself: it loads nothing from any network. It holds scores and names of test videos, "
    "no pictures."
)


def report(run: Path, dataset: Path | None = None) -> Path:
    """Write ``RUN/report.html``: results, baselines, scenes, curves, what left the sites, provenance.

    Args:
        run: a run folder; one without metrics (no truth) gives a page as well.
        dataset: the dataset whose test videos were scored, for frame rates and truth; by default the one named in the
            run's ``config.json`` if it still exists.

    Returns:
        Path of the page.

    Raises:
        ClapError: there is no run, one of its files is broken, or the given dataset is not one.
    """
    found = read_run(run, dataset)
    page = run / "report.html"
    write_page(page, f"Run {run.resolve().name}", run_subtitle(found), run_sections(found), _FOOTER)
    return page
