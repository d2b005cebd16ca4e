"""The web output: status page, API, live picture and metrics of a run, over HTTP."""
