"""What a simulated cluster is made of: nodes, their network and disks, and virtual time."""
