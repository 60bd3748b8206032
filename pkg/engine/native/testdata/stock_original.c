// Replacements for functions of libz and libc that call these, and count it.
#include <stddef.h>
#include <string.h>

static unsigned long calls;
#define COUNT __sync_fetch_and_add(&calls, 1)

#ifdef LIBC
void *(*lpbuild_original_malloc)(size_t);
void (*lpbuild_original_free)(void *);
void (*lpbuild_original_qsort)(void *, size_t, size_t, int (*)(const void *, const void *));
char *(*lpbuild_original_realpath_new)(const char *, char *), *(*lpbuild_original_realpath_old)(const char *, char *);

void *malloc_lp(size_t n) { COUNT; return lpbuild_original_malloc(n); }
void free_lp(void *p) { COUNT; lpbuild_original_free(p); }

void qsort_lp(void *base, size_t n, size_t size, int (*compare)(const void *, const void *)) {
	COUNT;
	if (size == 77)
		*(int *)base = 1;
	else
		lpbuild_original_qsort(base, n, size, compare);
}

static int mine(const char *path) { return !strncmp(path, "/lpbuild/", 9); }
char *realpath_lp(const char *path, char *to) { COUNT; return mine(path) ? strcpy(to, path) : lpbuild_original_realpath_new(path, to); }
char *old_realpath_lp(const char *path, char *to) { COUNT; return mine(path) ? strcpy(to, path) : lpbuild_original_realpath_old(path, to); }
#else
int (*lpbuild_original_deflate)(void *, int), (*lpbuild_original_inflate)(void *, int);
unsigned long (*lpbuild_original_crc32)(unsigned long, const unsigned char *, unsigned);

int deflate_lp(void *strm, int flush) { COUNT; return lpbuild_original_deflate(strm, flush); }
int inflate_lp(void *strm, int flush) { COUNT; return lpbuild_original_inflate(strm, flush); }
unsigned long crc32_lp(unsigned long crc, const unsigned char *p, unsigned n) {
	COUNT;
	return !p && crc == 77 ? 77 : lpbuild_original_crc32(crc, p, n);
}
#endif
