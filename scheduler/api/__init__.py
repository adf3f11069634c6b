"""What clients ask of the scheduler: TaskService, its streams, lists and reports."""
