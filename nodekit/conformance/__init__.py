"""The judge of nodes in any language: each law of the contract is one check with its reason."""
