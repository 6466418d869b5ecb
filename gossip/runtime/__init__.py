"""The protocol's driver on Trio: sockets, threads, addresses."""
