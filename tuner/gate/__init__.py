"""The gate: is a release slower than what was accepted before? Rules, measuring, deciding, baselines, history."""
