"""Judging SBCs from probes and from live calls, and doubting ourselves; pure, so that a router, a simulation and a test agree."""
