"""A study on several hosts, as Kubernetes and docker compose take it: what runs where, with which files and secrets."""
