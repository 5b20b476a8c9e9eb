"""What a study's results say, in sentences, tables and charts; one module an analysis."""
