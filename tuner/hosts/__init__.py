"""Many hosts, one study: who takes part, who measures what, who confirms the best. Optuna's storage is between them."""
