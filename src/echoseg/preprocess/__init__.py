"""From a clip's own grid to the network's and back."""
