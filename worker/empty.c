typedef int worker_is_empty;
