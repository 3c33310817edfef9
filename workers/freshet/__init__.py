"""Freshet: event streams into ML features that are fresh, exact and always on."""

__version__ = "0.1.0"
