"""Ratios measured in one run on one machine: of inference, and of training."""
