"""Pages that hold all they show: tables, plots and what they came from, in one file."""
