"""A study as one HTML page that needs nothing else: `page.html(loaded)`."""

from prunery.report.page.render import html

__all__ = ["html"]
