"""Reports: the page and charts of a training, the audit's page, previews, the table of runs."""
