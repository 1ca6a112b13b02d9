"""From settings to a trained model: the one loop, its checkpoints, its log and its callbacks."""
