"""llama.cpp: its server of language models, started anew for each configuration."""
