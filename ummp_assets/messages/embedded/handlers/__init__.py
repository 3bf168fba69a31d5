"""What the broker answers: one function per kind of request, grouped by area."""
