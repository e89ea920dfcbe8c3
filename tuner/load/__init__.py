"""The load engine: sends encoded requests on time, in a process of its own, and records what happened to each."""
