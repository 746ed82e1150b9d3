"""lm-evaluation-harness with masked diffusion models (extra ``eval``).

``model.harness_model`` makes a denoiser a model of the harness; ``tasks/`` holds task files; ``programs`` runs the
generated programs that a task asks to run; ``run.evaluate`` is what the command line calls.
"""
