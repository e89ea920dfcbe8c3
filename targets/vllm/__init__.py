"""vLLM: a server of language models, started anew for each configuration."""
