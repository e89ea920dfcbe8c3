"""Servers of the Open Inference Protocol (KServe v2): Triton, MLServer, KServe's own and others."""
