"""What is done with media objects and a trained model: paths, samples, variations, restorations, attributes, maps."""
