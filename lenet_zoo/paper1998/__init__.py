"""The training of 1998 whole: its losses, its second derivatives, its loop, and the figures that the paper prints."""
