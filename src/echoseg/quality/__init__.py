"""How far a clip's numbers may be believed: picture quality, the network's doubt, an interval."""
