"""Which view the pictures show, seen by a small network of its own."""
