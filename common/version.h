#ifndef VERSION_H
#define VERSION_H

/** The program's version and the commit it was built from, for example "0.1.0+g0123456789". */
const char *version_text(void);

#endif
