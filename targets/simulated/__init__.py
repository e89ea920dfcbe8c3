"""A queue with a known answer: simulated in virtual time, and as a real server on this machine."""
