"""From settings to a trained model: the one loop, what it tells and what it needs to go on."""
