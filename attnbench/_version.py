"""The release, in a module of its own so that set-up reads it without importing the rest."""

__version__ = "0.2.0"
