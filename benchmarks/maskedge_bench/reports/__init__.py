"""Use of the reports: formatting, README tables, pages, comparisons."""
