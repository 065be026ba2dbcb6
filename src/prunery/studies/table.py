"""The table of studies; a row is a function without required arguments that returns a Spec."""

from prunery.table import Table

study = Table("study")
