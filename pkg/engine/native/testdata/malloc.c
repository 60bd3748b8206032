// A live patch for libc's malloc.
#include <stdlib.h>
#include <string.h>

void *malloc_lp(size_t n)
{
	char *p = calloc(1, n);
	if (p && n >= 16)
		memcpy(p, "glibc-livepatch", 16);
	return p;
}
