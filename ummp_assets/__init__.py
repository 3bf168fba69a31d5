"""UMMP: messages in, versioned training datasets out."""
