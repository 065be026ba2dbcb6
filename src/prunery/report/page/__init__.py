"""A study as one HTML page that needs nothing else: `page.html(page.Study(...))`."""

from prunery.report.page.contents import Study
from prunery.report.page.render import html

__all__ = ["Study", "html"]
