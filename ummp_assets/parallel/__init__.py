"""How a step runs: all cores, bounded memory, answers in the order of the questions, rare garbage collections."""
