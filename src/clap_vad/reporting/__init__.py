"""Plots, HTML reports and annotated videos."""
