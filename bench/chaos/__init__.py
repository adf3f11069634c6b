"""`make chaos`: the whole system under faults, and a judge who reads what everybody wrote down."""
