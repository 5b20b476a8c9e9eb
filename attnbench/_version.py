"""The release, in its own module: set-up reads it without importing the rest."""

__version__ = "0.2.0"
