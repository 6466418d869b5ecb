"""What can be done to a simulated cluster, on a schedule or by chance."""
