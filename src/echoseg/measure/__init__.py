"""NUMBERS. Masks in, clinical values out; no network."""
