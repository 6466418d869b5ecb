"""What is recorded of a run, and how it is shown."""
