"""How right the answers of a variant are: scores of labelled items, and differences to the baseline's answers."""
