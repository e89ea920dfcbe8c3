"""The twin: a simulation of the server, calibrated from its own statistics, that says what is worth measuring next.

`calibration` reads the server's laws from what was measured, `forecast` simulates configurations that were not,
`residual` learns where the simulation is wrong and how sure it is, `planner` makes `forecasts` of both.
"""
