"""Paretune: find the fastest configuration of a model server that meets its latency objective, and prove it."""

from importlib.metadata import version

__version__ = version("paretune")
