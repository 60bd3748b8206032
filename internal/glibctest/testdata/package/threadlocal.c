/* How many blocks of 1000 bytes the calling thread has freed and not used again. */
#include <stddef.h>
#include <stdint.h>

struct reference {
	unsigned long module, offset;
} ulpr_tcache = {0, 0};

extern void *__tls_get_addr(struct reference *);

/* The beginning of glibc's tcache_perthread_struct. */
struct tcache {
	uint16_t counts[64];
};

size_t usable_size_lp(void *block)
{
	struct tcache *const *cache = __tls_get_addr(&ulpr_tcache);
	size_t class = (1008 - 32 + 15) / 16;

	(void)block;
	return *cache ? (*cache)->counts[class] : 0;
}
