"""Pages that fit into a ConfigMap: what had to go is told on the page."""

from __future__ import annotations

import gzip
from dataclasses import replace

from ops.controller.worker_link.wire import REPORT_GZIP_BYTES_MAX
from ops.errors import BundleError
from ops.reports import RunReport, render_html, render_markdown

MARKDOWN_BYTES_MAX = 64 * 1024  # of a ConfigMap that also holds the page


def fitted_page(
    report: RunReport, *, bytes_max: int = REPORT_GZIP_BYTES_MAX
) -> tuple[bytes, bytes, tuple[str, ...]]:
    """The page, its gzip, and what had to be left out so that the gzip fits.

    Charts go first, half of them at a time, the least telling ones before the others; the page
    says so in its foot.
    """
    dropped: tuple[str, ...] = ()
    keep = max((len(one.series) for one in report.incidents), default=0)
    shown = report
    while True:
        page = render_html(shown).encode()
        raw = gzip.compress(page, compresslevel=9, mtime=0)
        if len(raw) <= bytes_max:
            return page, raw, dropped
        if keep == 0:
            raise BundleError(
                f"the page has {len(raw):,} bytes of gzip without any chart, limit {bytes_max:,}; "
                "the bundle holds everything"
            )
        keep //= 2
        dropped = (f"all but {keep} charts of each incident, so that the page fits {bytes_max:,} "
                   "bytes",)  # fmt: skip
        shown = replace(
            report,
            incidents=tuple(replace(one, series=one.series[:keep]) for one in report.incidents),
            versions=(*report.versions, ("Left out", dropped[0])),
        )


def short_markdown(report: RunReport) -> str:
    """The Markdown, cut at a line where it is too long."""
    markdown = render_markdown(report)
    raw = markdown.encode()
    if len(raw) <= MARKDOWN_BYTES_MAX:
        return markdown
    kept = raw[:MARKDOWN_BYTES_MAX].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n\nThe rest does not fit here; the page holds it.\n"
