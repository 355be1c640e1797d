"""Trained weights: published ones and those of a file, brought into a model that was just built."""
