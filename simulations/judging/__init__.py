"""What must hold of every run, and what is watched to tell."""
