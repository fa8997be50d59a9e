"""DEIDENTIFY. Clips without what identifies a patient: a new header, black outside the sector."""
