"""RELIABILITY. Image quality, network uncertainty, the EF interval, and the view check."""
