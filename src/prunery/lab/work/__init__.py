"""The only part of the lab that sees the workshop: what each step does, and what is checked before."""

from prunery.lab.work.steps import work

__all__ = ["work"]
