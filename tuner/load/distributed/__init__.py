"""Load from many machines on Locust: `master` and `agent` run in Locust's own processes, the rest knows no Locust."""
