"""Faults that may pass without a word, each with its reason. A point that leaves no line in the log and no error with a client, and that no row
here speaks for, fails the run: either somebody has to hear of it, or a row has to say why not.

`calls` and `errors` are words ("" for any), `way` is the beginning of the name of a function, or of a library's file, on the way that led
to the call ("" for any)."""

from typing import NamedTuple


class Row(NamedTuple):
    calls: str
    errors: str
    way: str
    why: str


AGAIN = "made again as soon as the kernel says that it is worth it"
SAID = "said with the errno before it, which the same daemon was given: once in ten seconds is enough (accept_shortage.c, worker_pause_accept)"
CONNECTION = "the access line of the connection says how it ended; this only changes what its peer sees of the end"
DEFAULTS = "a library does without: it has a default, another source, or asks later; what it then cannot do, it tells"

ROWS = [
    # ---- no news: the kernel asks for another try, or there was nothing to do
    Row("accept4 recv recvmsg send sendmsg read write writev pread pwrite epoll_wait poll waitpid fallocate ftruncate open flock", "EINTR", "",
        AGAIN),
    Row("accept4 recv send sendmsg write writev", "EAGAIN", "", AGAIN),
    Row("sendmsg", "ENOMEM ENOBUFS", "ctl_channel_send", "the message waits in the channel's queue and is sent a tenth of a second later"),
    Row("sendmsg", "ENOMEM ENOBUFS", "send_removed", "the master is told with the next tick (control_send_rest)"),
    Row("sendmsg", "ENOMEM ENOBUFS", "answer_query", "the master gets its answer with the next tick (control_send_rest)"),
    Row("recvmsg", "ENOMEM", "channel_receive", "the message waits in the socket and is read a tenth of a second later"),
    Row("close munmap", "", "", "the descriptor is gone whatever close() says (close(2)), and where bytes matter an fsync() has told before; "
        "munmap() only fails to give back address space"),
    Row("accept4", "ECONNABORTED", "", "the client went while it waited: it was no connection yet"),
    Row("accept4", "ENOMEM", "", SAID),
    Row("epoll_ctl", "ENOSPC", "conn_io_watch_listener", SAID),
    Row("shutdown", "ENOTCONN", "", "the peer was faster, and has ended it"),
    # ---- worker: what is done for a peer that is being left, or once at its birth
    Row("recv", "", "conn_step_linger", CONNECTION),
    Row("send", "", "send_alert", CONNECTION),
    Row("setsockopt", "", "conn_side_close", CONNECTION + ": an end of stream in place of a reset"),
    Row("setsockopt", "", "send_some", "without TCP_NODELAY a small piece may wait for an acknowledgement: no byte is lost"),
    Row("read", "EIO", "on_tick", "the time is the clock's; the next tick is there in 100 ms"),
    Row("fopen malloc", "", "host_facts_read", "the usual range of ports and IPv6 are assumed: they only choose the name of a reason"),
    Row("prctl", "", "drop_bounding_set", "EINVAL is the end of the list; capabilities themselves are given up with a check (sandbox.c)"),
    Row("prctl", "", "worker_main", "the process keeps the program's name in ps"),
    Row("prctl", "", "child_exec", "a kernel before 4.3 has no ambient capabilities; the worker gives up all with a check (sandbox.c)"),
    # ---- master: what has a reserve, another place to be told, or another try
    Row("realloc malloc", "", "loop_memory", "the reserve is made bigger by a later turn; nghttp2 and libev draw on it meanwhile, so nothing fails"),
    Row("malloc", "", "pattern_of", "the route has no series of its own; mcproxy_routes_left_out counts it"),
    Row("malloc", "", "admin_tls_say_goodbye", "a TLS connection that is done closes without close_notify"),
    Row("malloc", "", "cpus_allowed", "one worker, as the line of the start says (workers=)"),
    Row("epoll_ctl", "", "server_run", "libev stops the watcher and tells it (EV_ERROR): it is started again, or its connection ends and is "
        "made anew"),
    Row("eventfd", "", "watch_signal", "libev takes a pipe in its place"),
    Row("bind", "EADDRINUSE", "listen_sockets_probe", "tried again until a second is over: an old server may be on its way out"),
    Row("fstat open", "", "log_output_new", "the log goes to the inherited description, a line at a time when poll() says that it takes one"),
    Row("fstat", "", "is_still_there", "the file is opened again"),
    Row("open malloc fstat", "", "snapshot_names_last", "numbers begin with 1 then; a name that is taken is passed over (O_EXCL)"),
    Row("mmap ftruncate", "", "map_file", "half of the address space is asked for, and so on: mcproxy_table_bytes is far below either"),
    Row("fallocate", "", "commit_up_to", "without the step ahead only what is needed is taken"),
    Row("fallocate", "", "shm_pages_free", "pages that cannot be given back are cleared, and used again"),
    Row("malloc pread pwrite ftruncate unlink", "", "store_close", "closing the database folds the write-ahead log in once more; what stays in "
        "it then is said"),
    Row("open", "", "remove_file", "a socket file that stays is replaced by the next start"),
    Row("write", "", "log_output_flush", "it is the log that fails, at the very end"),
    Row("socket send recv", "", "handshakes_look", "looked at again in a moment; a master that stays blind closes listeners after a short while "
        "(supervisor_closing.c)"),
    Row("poll read", "", "read_report", "what the child said is lost, not its end, which says the same with less words"),
    Row("prctl", "", "shrink_bounding_set", "EINVAL is the end of the list; workers hold no capabilities anyway"),
    # ---- libraries of the master
    Row("fcntl", "", "libsqlite3", "SQLite's locks keep out a second process, which flock() does: a lock not had is asked for again, one not given "
        "back goes with the next transaction"),
    Row("open fdatasync", "", "libsqlite3", "of a folder, which SQLite syncs without looking (a file's is an error); ours follows and reports "
        "(folder_sync.c)"),
    Row("malloc", "", "handle_open", "SQLite goes on with a hash table that could not become bigger"),
    Row("fstat read", "", "libsqlite3", "SQLite asks again when it needs the answer; without /dev/urandom it draws from time and pid"),
    Row("malloc realloc calloc fopen", "", "libcrypto", DEFAULTS),
    Row("malloc realloc calloc fopen connect socket getsockname", "", "libcares", DEFAULTS + ": the next look-up (dns_client.c reads resolv.conf "
        "beside it)"),
    Row("malloc realloc calloc fopen fstat open", "", "__getpwnam_r", DEFAULTS + ": the next source of nsswitch.conf; worker_user.c refuses to start "
        "when that was not known to be a no"),
]


class Defect(NamedTuple):
    """What a library makes of a fault that we can do nothing about: `report` stands in what is said of it, mostly by the sanitizer."""
    call: str
    way: str
    report: str
    why: str


DEFECTS = [
    Defect("malloc", "global_state_allocate", "SEGV nss/nss_database.c", "glibc 2.36 goes on with the state that it did not get, at the first "
           "look-up of a user: a start without memory ends by a signal"),
    Defect("malloc", "nss_database_reload_1", "nss_database_reload_1: Assertion", "glibc 2.36 takes no memory for a line of nsswitch.conf for an "
           "error that cannot be: the same"),
    Defect("realloc", "libcrypto.so.3:CRYPTO_set_ex_data", "LeakSanitizer", "OpenSSL 3.0 loses a provider that it has half made; the start ends, and says why"),
]


def defect_for(point, names, log):
    """The defect that this failure is, or None."""
    for defect in DEFECTS:
        if point["name"] == defect.call and defect.report in log and any(name.startswith(defect.way) for name in names):
            return defect
    return None


def row_for(point, names):
    """The row that speaks for this point's silence, or None; names are those of the functions on the way to the call, the innermost first."""
    for row in ROWS:
        if row.calls and point["name"] not in row.calls.split():
            continue
        if row.errors and point["error"] not in row.errors.split():
            continue
        if any(name.startswith(row.way) for name in names):
            return row
    return None
