"""Stands in for the library of that name."""
