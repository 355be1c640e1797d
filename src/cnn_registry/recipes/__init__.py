"""Recipes: everything about a training that is neither the model nor the data."""
