#ifndef H2_MEMORY_H
#define H2_MEMORY_H

#include <nghttp2/nghttp2.h>

/**
 * What a session of nghttp2 allocates with: malloc(), and the reserve of loop_memory.h when memory is short. nghttp2 1.52 frees a
 * queued DATA frame twice when it cannot enlarge its queue; with the reserve that moment does not come.
 */
nghttp2_mem *h2_memory(void);

#endif
