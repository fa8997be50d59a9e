"""How near masks and numbers are to the ground truth."""
