"""TENSORS. Layers that know nothing of hearts."""
