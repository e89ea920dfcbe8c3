"""What the host and its GPUs do while a window is measured."""
