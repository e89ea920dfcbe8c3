"""The report's charts: one module draws one of them, as plain data; `plot` alone knows plotly."""
