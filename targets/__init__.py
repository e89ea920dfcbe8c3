"""Model servers: one sub-package each, all behind the protocols of `targets.base`."""
