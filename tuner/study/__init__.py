"""The study file: read with its line numbers, validated, and turned into what the run needs."""
