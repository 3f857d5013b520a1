"""Engines behind one small protocol. They know tensors, not images."""
