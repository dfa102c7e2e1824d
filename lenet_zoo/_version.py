"""The version of the package, in a place that every module may look at."""

__version__ = "0.1.0"
