"""What came of a task, as everybody outside is told: REST answers and callbacks say it in the same words. Calls nobody."""
