"""Dataset versions in the formats of others: Parquet for Hugging Face, WebDataset, MDS, JSON Lines, Croissant."""
