"""The mathematics: canvases, denoisers, schedules, the forward process, the objective, and randomness by counters.

Names are imported from their modules: ``errors`` and ``files`` must load without torch.
"""
