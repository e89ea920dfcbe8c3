"""Many hosts, one study: who takes part, who measures what, and who confirms the best. Optuna's storage is between them."""
