"""What training sees: clips, batches, augmentation."""
