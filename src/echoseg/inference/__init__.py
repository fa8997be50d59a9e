"""A clip through a network: masks, live sessions, backends."""
