"""The mathematics: canvases, denoisers, schedules, the forward process, the objective, and randomness by counters."""
