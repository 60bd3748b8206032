/*
 * The replacement for malloc: a block of memory that says who made it.
 *
 * A real live patch has the fixed function here, copied from the fixed source together with the static functions and
 * types that it needs. What it only reads or writes in the running library it reaches through a reference in the
 * description (#variable:pointer) instead of a copy.
 *
 * A replacement calls the function that it replaces through a pointer, which is defined outside of functions and without
 * static, and which lpbuild fills in:
 *
 *     void *(*lpbuild_original_malloc)(size_t);
 *     ...
 *     block = lpbuild_original_malloc(size);
 *
 * That runs the library's own code, never that of an earlier live patch.
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
