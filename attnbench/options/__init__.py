"""Options as data, read by commands, studies, repro and importers."""
