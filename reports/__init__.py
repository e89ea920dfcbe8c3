"""Stored results made readable: HTML, CSV, text. Reads `tuner.results` and nothing else of ours."""
