"""Where things are kept: objects under one root, stage manifests over them, and the index that answers look-ups."""
