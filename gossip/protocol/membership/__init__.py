"""The members that are there: how they are met, told of, watched and taken leave of."""
