"""How fast the engines that hear and speak are."""
