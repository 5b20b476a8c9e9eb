"""Options as data: what commands, studies, repro and importers know of them is read from here."""
