"""The scheduler: TaskService for all nodes, durable in Redis."""
