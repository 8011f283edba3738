"""Tikkun's side of a Python worker: boots the team's own command, and runs its jobs in forked children.

The path of a job: `boot` waits until RQ is imported, `capture` takes over in `Worker.work()` and reports
what the worker is, `zygote` forks a child for each request, `child` runs jobs with RQ's own code, of which
`leaves` replaces the functions that write bookkeeping to Redis, `attempt` reports the job's phases and its
end, and `hygiene` ends a child that a job has left unclean. `imports` has modules that jobs need imported
ahead, and `hazards` sees what a process that forks should not have. All of them talk with Tikkun in `frames`.
Standard library only, Python 3.8 and later.
"""

# The version of the protocol that HELLO names.
PROTOCOL = 1
# The module of RQ with the question whether all workers are suspended. Others import it by name, so what is replaced
# there is replaced before any of them has it.
SUSPENSION_MODULE = "rq.suspension"
