"""Traffic: arrival processes, request sources and the schedules made of them. Pure and seeded; no clock."""
