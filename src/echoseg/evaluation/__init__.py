"""JUDGEMENT. A Segmenter over a data set: items, means with intervals, a report to be repeated."""
