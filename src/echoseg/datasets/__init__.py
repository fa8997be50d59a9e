"""COLLECTIONS. One public data set a module: where its files lie, labels, split."""
