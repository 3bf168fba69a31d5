"""A step's work on all cores: threads and children of bounded memory, answers in the order of the questions."""
