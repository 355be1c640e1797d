"""Trackers that follow a training from outside of its run directory, one a module."""
