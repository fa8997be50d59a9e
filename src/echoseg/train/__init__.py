"""LEARNING. Clips, few of them labelled, in; a Segmenter out."""
