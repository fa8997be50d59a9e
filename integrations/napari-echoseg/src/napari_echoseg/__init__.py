"""Clips of echocardiograms in napari: segmented by echoseg, corrected, and measured again.

Research software, not a medical device.
"""
