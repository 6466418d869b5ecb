"""The data types, each as what an operation writes and kills, and how the live entries are read."""
