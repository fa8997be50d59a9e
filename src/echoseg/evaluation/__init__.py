"""EVALUATION. A network over a data set: items, means with intervals, a reproducible report."""
