"""What is learned: tasks, models, data, partitions, metrics."""
