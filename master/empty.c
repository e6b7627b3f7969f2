typedef int master_is_empty;
