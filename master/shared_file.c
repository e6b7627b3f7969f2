/* Memory shared with workers: made, sized, sealed and mapped in one step. */

#include "shared_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "err.h"

const char *shared_file_why(int rc)
{
    if (errno == EFBIG)
        return "the size of files is limited; lift it (ulimit -f, LimitFSIZE)";
    if (errno == ENOMEM)
        return "memory or the address space is limited; lift it (ulimit -v, LimitAS)";
    return rc == ERR_SYSTEM || rc == ERR_NO_SPACE ? strerror(errno) : err_text(rc);
}

static int shared_file_error(int error_number)
{
    return error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM ? ERR_NO_SPACE : ERR_SYSTEM;
}

int shared_file_make(const char *name, uint64_t bytes, int *fd_out, void **mapping_out)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *mapping;

    if (fd < 0)
        return shared_file_error(errno);
    if (ftruncate(fd, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0 ||
        (mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
        int error_number = errno;
        close(fd);
        errno = error_number;
        return shared_file_error(error_number);
    }
    *fd_out = fd;
    *mapping_out = mapping;
    return 0;
}
