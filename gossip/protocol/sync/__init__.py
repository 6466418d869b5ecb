"""How members find and exchange what one of them lacks."""
