"""Work that outlives who started it: each job is a process with a folder on disk.

A folder of jobs lies beside the project file. `JobQueue` adds jobs and lets them run one at a time, in order;
`Job` is one of them, `status` what is known of it. The process of a job is `python -m etpick.jobs.work FOLDER`.
"""

from etpick.jobs.queue import JobQueue
from etpick.jobs.record import Job
from etpick.jobs.status import Status, TomogramDone, status

__all__ = ["Job", "JobQueue", "Status", "TomogramDone", "status"]
