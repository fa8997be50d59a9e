"""Shipped checkpoints and the card that each carries."""
