"""Fuzzing of every reader: seeds that our own writers make, targets, and two engines."""
