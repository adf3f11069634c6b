"""The processes of an installation on hosts of their own, and what happens when hosts are lost."""
