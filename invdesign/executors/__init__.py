"""Where heavy tasks run: worker processes of this machine, or a Dask cluster. One protocol, two adapters.

A task is an item (a crystal, a fold of a benchmark) for a function that is set up once in each process. Answers
depend on the item alone, so that every executor gives the same ones; a task that is lost with its process is
repeated.
"""

from invdesign.executors.choice import Local, checked, counted_here, executor, pool
from invdesign.executors.protocol import Executor, Pool, Workforce

__all__ = ["Executor", "Local", "Pool", "Workforce", "checked", "counted_here", "executor", "pool"]
