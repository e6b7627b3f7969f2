/*
 * One system call from within a worker's sandbox: `sandbox_probe NAME` becomes what a worker is (nobody, if started as root) and then
 * makes the call of that name, which ends it by SIGSYS or does not. `sandbox_probe --list` prints "NAME EXPECTED" for each. Built
 * with the worker's own sandbox.c, and without sanitizers in every build. Driven by test/integration/test_sandbox.py.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandbox.h"

#define NOBODY 65534

static const char here[] = ".";
static char path_none[] = "/nonexistent";
static int stream_fd, pipe_fds[2], file_fd; /* made before the sandbox is entered */

static long socket_of(int family, int type, int protocol)
{
    return syscall(SYS_socket, family, type, protocol);
}

static long option_of(int level, int name)
{
    int on = 1;

    return syscall(SYS_setsockopt, stream_fd, level, name, &on, sizeof on);
}

static long map(int prot, int flags, int fd)
{
    return syscall(SYS_mmap, NULL, 4096, prot, flags, fd, 0);
}

#define PROBE(name, call)          \
    static long probe_##name(void) \
    {                              \
        return (call);             \
    }

/* clang-format off */
#define KILLED_TABLE(X)                                                                        \
    X(open, syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY))                              \
    X(openat_own_folder, syscall(SYS_openat, AT_FDCWD, here, O_RDONLY | O_DIRECTORY))          \
    X(openat2, syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0))                                   \
    X(stat, syscall(SYS_newfstatat, AT_FDCWD, "/", NULL, 0))                                   \
    X(readlink, syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", NULL, 0))                  \
    X(unlink, syscall(SYS_unlinkat, AT_FDCWD, path_none, 0))                                   \
    X(rename, syscall(SYS_renameat2, AT_FDCWD, path_none, AT_FDCWD, path_none, 0))             \
    X(mkdir, syscall(SYS_mkdirat, AT_FDCWD, path_none, 0700))                                  \
    X(chdir, syscall(SYS_chdir, "/"))                                                          \
    X(chroot, syscall(SYS_chroot, "/"))                                                        \
    X(mount, syscall(SYS_mount, path_none, path_none, "tmpfs", 0, NULL))                       \
    X(getdents, syscall(SYS_getdents64, file_fd, NULL, 0))                                     \
    X(ftruncate, syscall(SYS_ftruncate, file_fd, 0))                                           \
    X(execve, syscall(SYS_execve, "/bin/true", NULL, NULL))                                    \
    X(execveat, syscall(SYS_execveat, file_fd, "", NULL, NULL, AT_EMPTY_PATH))                 \
    X(fork, syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL))                               \
    X(clone3, syscall(SYS_clone3, NULL, 0))                                                    \
    X(unshare_user, syscall(SYS_unshare, CLONE_NEWUSER))                                       \
    X(setns, syscall(SYS_setns, file_fd, 0))                                                   \
    X(ptrace_parent, syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), NULL, NULL))                \
    X(ptrace_traceme, syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL))                      \
    X(process_vm_readv, syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0))          \
    X(kill_parent, syscall(SYS_kill, 1, 0))                                                    \
    X(kill_self, syscall(SYS_kill, 0, 0))                                                      \
    X(tgkill_other, syscall(SYS_tgkill, 1, 1, 0))                                              \
    X(pidfd_open, syscall(SYS_pidfd_open, 1, 0))                                               \
    X(pidfd_getfd, syscall(SYS_pidfd_getfd, file_fd, 0, 0))                                    \
    X(socket_netlink, socket_of(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE))                          \
    X(socket_packet, socket_of(AF_PACKET, SOCK_RAW, 0))                                        \
    X(socket_raw, socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP))                                  \
    X(socket_raw6, socket_of(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6))                              \
    X(socket_udp, socket_of(AF_INET, SOCK_DGRAM, 0))                                           \
    X(socket_udp6, socket_of(AF_INET6, SOCK_DGRAM, 0))                                         \
    X(socket_unix_datagram, socket_of(AF_UNIX, SOCK_DGRAM, 0))                                 \
    X(socket_seqpacket, socket_of(AF_UNIX, SOCK_SEQPACKET, 0))                                 \
    X(socket_sctp, socket_of(AF_INET, SOCK_STREAM, IPPROTO_SCTP))                              \
    X(socket_mptcp, socket_of(AF_INET, SOCK_STREAM, IPPROTO_MPTCP))                            \
    X(socket_vsock, socket_of(AF_VSOCK, SOCK_STREAM, 0))                                       \
    X(socket_alg, socket_of(AF_ALG, SOCK_SEQPACKET, 0))                                        \
    X(socket_bluetooth, socket_of(AF_BLUETOOTH, SOCK_STREAM, 0))                               \
    X(socketpair, syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pipe_fds))                  \
    X(bind, syscall(SYS_bind, stream_fd, NULL, 0))                                             \
    X(listen, syscall(SYS_listen, stream_fd, 1))                                               \
    X(option_attach_filter, option_of(SOL_SOCKET, SO_ATTACH_FILTER))                           \
    X(option_attach_bpf, option_of(SOL_SOCKET, SO_ATTACH_BPF))                                 \
    X(option_mark, option_of(SOL_SOCKET, SO_MARK))                                             \
    X(option_ulp, option_of(IPPROTO_TCP, TCP_ULP))                                             \
    X(option_repair, option_of(IPPROTO_TCP, TCP_REPAIR))                                       \
    X(option_ip, option_of(IPPROTO_IP, IP_OPTIONS))                                            \
    X(getsockopt_error, syscall(SYS_getsockopt, stream_fd, SOL_SOCKET, SO_ERROR, NULL, NULL))  \
    X(getsockopt_peercred, syscall(SYS_getsockopt, stream_fd, SOL_SOCKET, SO_PEERCRED, NULL, NULL)) \
    X(mmap_exec, map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1))                  \
    X(mmap_exec_file, map(PROT_READ | PROT_EXEC, MAP_PRIVATE, file_fd))                        \
    X(mmap_write_file, map(PROT_READ | PROT_WRITE, MAP_SHARED, file_fd))                       \
    X(mprotect_exec, syscall(SYS_mprotect, NULL, 4096, PROT_READ | PROT_EXEC))                 \
    X(pkey_mprotect, syscall(SYS_pkey_mprotect, NULL, 4096, PROT_EXEC, -1))                    \
    X(memfd_create, syscall(SYS_memfd_create, "x", 0))                                         \
    X(shmget, syscall(SYS_shmget, 1, 4096, 0600))                                              \
    X(fcntl_dupfd, syscall(SYS_fcntl, stream_fd, F_DUPFD, 0))                                  \
    X(fcntl_setfl, syscall(SYS_fcntl, stream_fd, F_SETFL, 0))                                  \
    X(fcntl_setown, syscall(SYS_fcntl, stream_fd, F_SETOWN, 1))                                \
    X(fcntl_setpipe_sz, syscall(SYS_fcntl, pipe_fds[0], F_SETPIPE_SZ, 1 << 20))                \
    X(pipe, syscall(SYS_pipe2, pipe_fds, O_CLOEXEC))                                           \
    X(splice, syscall(SYS_splice, pipe_fds[0], NULL, stream_fd, NULL, 1, SPLICE_F_NONBLOCK))   \
    X(vmsplice, syscall(SYS_vmsplice, pipe_fds[1], NULL, 0, 0))                                \
    X(dup2, syscall(SYS_dup3, stream_fd, 700, 0))                                              \
    X(ioctl_interfaces, syscall(SYS_ioctl, stream_fd, SIOCGIFCONF, NULL))                      \
    X(ioctl_push_input, syscall(SYS_ioctl, 0, TIOCSTI, "x"))                                   \
    X(prctl, syscall(SYS_prctl, PR_SET_NAME, "x", 0, 0, 0))                                    \
    X(prctl_dumpable, syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0))                         \
    X(seccomp, syscall(SYS_seccomp, 0, 0, NULL))                                               \
    X(capset, syscall(SYS_capset, NULL, NULL))                                                 \
    X(setuid, syscall(SYS_setuid, 0))                                                          \
    X(setrlimit, syscall(SYS_prlimit64, 0, RLIMIT_NPROC, NULL, NULL))                          \
    X(keyctl, syscall(SYS_keyctl, 0, 0, 0, 0, 0))                                              \
    X(epoll_create1, syscall(SYS_epoll_create1, EPOLL_CLOEXEC))                                \
    X(add_key, syscall(SYS_add_key, "user", "x", NULL, 0, 0))                                  \
    X(bpf, syscall(SYS_bpf, 0, NULL, 0))                                                       \
    X(perf_event_open, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0))                       \
    X(userfaultfd, syscall(SYS_userfaultfd, 0))                                                \
    X(io_uring_setup, syscall(SYS_io_uring_setup, 1, NULL))                                    \
    X(io_setup, syscall(SYS_io_setup, 1, NULL))                                                \
    X(name_to_handle_at, syscall(SYS_name_to_handle_at, AT_FDCWD, "/", NULL, NULL, 0))         \
    X(open_by_handle_at, syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0))                    \
    X(init_module, syscall(SYS_init_module, NULL, 0, ""))                                      \
    X(reboot, syscall(SYS_reboot, 0, 0, 0, NULL))                                              \
    X(settimeofday, syscall(SYS_settimeofday, NULL, NULL))                                     \
    X(sched_setaffinity, syscall(SYS_sched_setaffinity, 0, 0, NULL))                           \
    X(syslog, syscall(SYS_syslog, 0, NULL, 0))                                                 \
    X(uname, syscall(SYS_uname, NULL))                                                         \
    X(no_such_call, syscall(9999))

/* What a worker does all day: a probe that killed everything would prove nothing. */
#define DONE_TABLE(X)                                                                          \
    X(socket_tcp, socket_of(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))           \
    X(socket_unix, socket_of(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))          \
    X(option_linger, setsockopt(stream_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger))) \
    X(option_nodelay, option_of(IPPROTO_TCP, TCP_NODELAY))                                     \
    X(mmap_memory, map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1))               \
    X(mmap_read_file, map(PROT_READ, MAP_SHARED, file_fd))                                     \
    X(getpid, syscall(SYS_getpid))

KILLED_TABLE(PROBE)
DONE_TABLE(PROBE)

#ifdef __x86_64__
/* The same number means another call there: 20 is getpid() of 32 bits, and writev() of 64. */
static long probe_call_of_32_bits(void)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    return result;
}

static long probe_call_of_x32(void)
{
    return syscall(0x40000000 | SYS_getpid);
}
#endif

static const struct probe {
    const char *name;
    const char *expected;
    long (*run)(void);
} probes[] = {
#define KILLED_ROW(name, call) {#name, "killed", probe_##name},
#define DONE_ROW(name, call)   {#name, "done", probe_##name},
    KILLED_TABLE(KILLED_ROW)
    DONE_TABLE(DONE_ROW)
#ifdef __x86_64__
    {"call_of_32_bits", "killed", probe_call_of_32_bits},
    {"call_of_x32", "killed", probe_call_of_x32},
#endif
};
/* clang-format on */

#define PROBES (sizeof probes / sizeof probes[0])

static int list(void)
{
    for (size_t i = 0; i < PROBES; i++)
        printf("%s %s\n", probes[i].name, probes[i].expected);
    return EXIT_SUCCESS;
}

static const struct probe *find(const char *name)
{
    for (size_t i = 0; i < PROBES; i++) {
        if (strcmp(probes[i].name, name) == 0)
            return &probes[i];
    }
    return NULL;
}

static int enter(void)
{
    static const struct rlimit no_core = {0, 0};
    char text[256];
    struct strbuf why = STRBUF_OF(text);

    stream_fd = socket(AF_INET, SOCK_STREAM, 0);
    file_fd = open("/proc/self/exe", O_RDONLY);
    if (stream_fd < 0 || file_fd < 0 || pipe(pipe_fds) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0)
        return -1;
    if (sandbox_enter(getuid() == 0 ? NOBODY : UINT32_MAX, getuid() == 0 ? NOBODY : UINT32_MAX, &why) == 0)
        return 0;
    fprintf(stderr, "%s\n", text);
    return -1;
}

int main(int argc, char **argv)
{
    const struct probe *probe = argc == 2 ? find(argv[1]) : NULL;

    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    if (probe == NULL || enter() != 0)
        return 2;
    long result = probe->run();
    _exit(result < 0
              ? 1
              : EXIT_SUCCESS); /* 1: refused, with an errno; a worker that goes on is not what was wanted either */
}
