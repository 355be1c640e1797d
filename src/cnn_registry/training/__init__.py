"""Recipes, the training loop, and the run directory it leaves."""
