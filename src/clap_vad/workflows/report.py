"""``clap report``: a self-contained page about a run."""

from __future__ import annotations

from pathlib import Path

from ..errors import ClapError
from ..monitoring.files import DATABASE, PAGE
from ..monitoring.report import write_monitoring_report
from ..reporting.page import write_page
from ..reporting.plot_files import save_plots
from ..reporting.run import run_sections, run_subtitle
from ..reporting.run_files import read_run

__all__ = ["report"]

_FOOTER = (
    "This page is self-contained: it loads nothing from any network. It contains scores and names of test videos, "
    "but no pictures."
)


def report(run: Path, dataset: Path | None = None, plots: Path | None = None) -> Path:
    """Write ``RUN/report.html``: results, baselines, scenes, curves, what left the sites, provenance.

    Args:
        run: a run folder, with or without metrics; or a folder of ``clap watch``, whose page is rewritten from its
            database.
        dataset: the dataset whose test videos were scored, for frame rates and truth; by default the one named in the
            run's ``config.json``, if it still exists.
        plots: folder for every plot of the page as PNG and SVG.

    Returns:
        Path of the page.

    Raises:
        ClapError: there is no run, one of its files is broken, or the given folder is not a dataset.
    """
    if plots is not None and plots.exists() and not plots.is_dir():
        raise ClapError(f"{plots}: is a file; name a folder for the plots")
    page = run / PAGE
    if (run / DATABASE).exists():
        sections = write_monitoring_report(run / DATABASE, page)
        if plots is not None:
            save_plots(plots, sections)
        return page
    found = read_run(run, dataset)
    sections = run_sections(found)
    write_page(page, f"Run {run.resolve().name}", run_subtitle(found), sections, _FOOTER)
    if plots is not None:
        save_plots(plots, sections)
    return page
