"""What is done with files and a trained model: paths, variations, attributes, maps, and the files they give."""
