"""Raw bytes to clean records or rejections: one stage per modality, and the duplicates that all of them drop."""
