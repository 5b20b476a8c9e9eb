"""Results of other tools, read as far as they say what was measured."""
