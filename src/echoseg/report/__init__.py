"""REPORT. What a cardiologist reads off the masks: schema, files, cohort, pictures."""
