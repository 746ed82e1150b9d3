"""Tasks: data, rules and verdicts."""

from .task import Batch, Task, TaskData

__all__ = ["Batch", "Task", "TaskData"]
