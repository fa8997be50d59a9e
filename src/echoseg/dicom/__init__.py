"""PACS. Results as DICOM objects of the source's study: SEG, SR, PDF, cine of the overlay; FHIR."""
