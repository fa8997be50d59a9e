"""Experiments with echoseg: label efficiency, model benchmark, key-frame scheduling."""
