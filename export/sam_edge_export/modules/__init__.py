"""Torch modules in a form that exports well, with the official parameter names."""
