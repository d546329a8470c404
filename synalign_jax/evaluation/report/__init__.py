"""The HTML report: facts in, one page out."""

from .page import MAX_ROWS, render_report, rows_shown, write_report

__all__ = ["MAX_ROWS", "render_report", "rows_shown", "write_report"]
