#ifndef VERSION_H
#define VERSION_H

/** The program's version and the commit it was built from, for example "0.1.0+g0123456789". */
const char *version_text(void);

/** The libseccomp library at run time: "2.5.4". Asked by its home, worker/sandbox.c, as the worker's folder exports no headers. */
const char *version_of_seccomp(void);

#endif
