"""Clean records to arrays of stated shape: one stage per modality."""
