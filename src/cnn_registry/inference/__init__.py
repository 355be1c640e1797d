"""Using a trained model: evaluation on images with labels, prediction for images without."""
