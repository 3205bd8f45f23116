"""What a trained model is worth: clusterings and their scores, criteria without labels, probes, images to show."""
