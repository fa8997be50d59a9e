"""The page: clips in a worklist, played with their contours, corrected, signed and exported.

It shows what `echoseg analyze` measures, and decides nothing that the command line cannot. Research
software, not a medical device.
"""
