/*
 * The replacement for malloc: it writes a text into each new block of memory.
 *
 * A real live patch has the fixed function here, copied from the fixed source together with the
 * static functions and types that it needs. It reaches the running library's own variables through
 * references in the description (#variable:pointer), and does not copy them.
 *
 * A replacement calls the function that it replaces through a pointer, which lpbuild fills in. The
 * pointer is defined outside of functions and without static:
 *
 *     void *(*lpbuild_original_malloc)(size_t);
 *     ...
 *     block = lpbuild_original_malloc(size);
 *
 * The call runs the library's own code, never that of an earlier live patch.
 */
#include <stddef.h>
#include <string.h>

/* Not <stdlib.h>: the compiler must not know that this is malloc. */
extern void *calloc(size_t, size_t);

void *malloc_lp(size_t size)
{
	static const char text[] = "glibc-livepatch";
	char *block = calloc(1, size);

	if (block && size >= sizeof text)
		memcpy(block, text, sizeof text);
	return block;
}
