"""LIVE. Frames one at a time to masks and running measurements, with the memory of a few beats."""
