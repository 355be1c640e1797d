"""The report of a run: everything as data first, and then as plots."""
