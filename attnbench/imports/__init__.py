"""Results of other tools, as far as their files say what was measured."""
