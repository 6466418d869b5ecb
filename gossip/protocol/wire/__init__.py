"""What travels: the messages, their bytes, and the seal around them."""
