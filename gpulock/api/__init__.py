"""LockService: sessions of clients, and the shape of what is said in them."""
