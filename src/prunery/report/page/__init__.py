"""A study as one HTML page that needs nothing else: `page.html(page.Study(...))`."""

from prunery.report.page.render import html
from prunery.report.page.study import Study

__all__ = ["Study", "html"]
