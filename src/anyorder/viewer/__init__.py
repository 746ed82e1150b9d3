"""A decode on one page: a trace becomes a self-contained HTML file that replays it."""

from anyorder.viewer.page import MOST_TRACES, render_page, write_page

__all__ = ["MOST_TRACES", "render_page", "write_page"]
