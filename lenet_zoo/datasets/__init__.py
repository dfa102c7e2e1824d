"""Data sets as tensors: those that torchvision fetches, folders of one's own, and distortions."""
