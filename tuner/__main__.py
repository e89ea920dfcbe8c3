"""`python -m tuner` is `tune`, whatever else on PATH bears that name."""

from tuner.cli import main

main()
