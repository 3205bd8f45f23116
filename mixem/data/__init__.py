"""The images: reading, downloading and dividing them into training, validation and test images."""
