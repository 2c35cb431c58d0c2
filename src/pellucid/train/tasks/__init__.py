"""What can be trained: one task, one file."""
