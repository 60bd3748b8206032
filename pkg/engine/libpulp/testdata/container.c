/* Replacements, TENS of which tell one container from another. */
#ifndef TENS
#define TENS 10
#endif
#include <fcntl.h>
#include <unistd.h>
extern void *__tls_get_addr(void *);
int *secret_pointer;
unsigned long local_pair[2];
int one_lp(void) { return TENS; }
int two_lp(void) { return 2 * TENS; }
int bare_lp(void) { return 3 * TENS; }
int sum_lp(void) { return 1000 + *secret_pointer + *(int *)__tls_get_addr(local_pair); }
int blocks_lp(const char *fifo)
{
	char c;
	int fd = open(fifo, O_RDONLY);
	while (read(fd, &c, 1) > 0);
	close(fd);
	return TENS;
}
int byhand_lp(void) { return 4 * TENS; }
