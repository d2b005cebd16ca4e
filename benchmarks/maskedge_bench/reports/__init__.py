"""Reports: reading every kind, tables, pages, comparisons."""
