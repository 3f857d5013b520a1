"""Measures the other packages, and says how."""
