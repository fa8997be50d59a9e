"""PICTURES. Masks drawn on frames, the volume curve, the page."""
