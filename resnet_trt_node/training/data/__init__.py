"""The data of a training: pictures on the device, and augmentation."""
