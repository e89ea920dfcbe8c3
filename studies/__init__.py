"""Ready-to-run studies with their models, and the starters of `tune init`. Data only."""
