"""How good the engines are, on recordings with known truth and on material that is made here."""
