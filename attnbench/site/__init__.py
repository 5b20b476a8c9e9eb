"""A static site over a whole database."""
