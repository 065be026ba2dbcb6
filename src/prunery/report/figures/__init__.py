"""Figures as Altair charts: one drawing for the page, PNG, SVG, PDF and notebooks."""
