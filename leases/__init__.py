"""What every arbiter of devices takes and says alike: the request as it is checked, and the texts of refusals."""
