"""Benchmarks: speed, accuracy and tracking of the pipelines, relative to the original one.

Import order, low to high: json_shape, conditions, markdown, svg_charts -> report_schemas, rounds ->
contestants -> accuracy, speed -> reports -> cli. The package imports `maskedge`. From
`maskedge_train` it imports only the PyTorch networks.
"""
