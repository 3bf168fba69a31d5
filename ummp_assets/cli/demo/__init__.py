"""`ummp demo`: real documents, photographs and sounds of this installation, served over HTTP on loopback."""
