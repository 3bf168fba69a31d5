"""Training datasets: shards, immutable versions, readers, lineage, labels and takedown."""
