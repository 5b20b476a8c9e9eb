"""The release, in a module of its own so that set-up reads it without importing the rest."""

__version__ = "0.1.0"
