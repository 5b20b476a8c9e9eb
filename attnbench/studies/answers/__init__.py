"""Answers from a study's results: sentences, tables and charts; one module per analysis."""
