"""Users of a locustfile as a load: Locust in a process of its own, driven and read as the load engine is."""
