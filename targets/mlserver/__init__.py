"""MLServer, Seldon's server of the Open Inference Protocol."""
