-- Enqueues jobs, all in one step. ARGV[3…]: jobs.

return enqueue_all(3)
