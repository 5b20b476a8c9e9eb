"""Self-contained HTML pages: tables, plots and their origin in one file."""
