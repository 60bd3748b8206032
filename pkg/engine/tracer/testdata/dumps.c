/* Dumps core when it is told to, in its directory and for a long time: of a mapping that is huge and all but empty. It begins to do so
   with the line that it reads. A second thread is beside. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void *beside(void *arg)
{
	for (;;) pause();
	return arg;
}

int main(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	pthread_t t;
	volatile char *p = mmap(0, 1ul << 42, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || setrlimit(RLIMIT_CORE, &all) || pthread_create(&t, 0, beside, 0)) return 1;
	*p = 1; /* what was never written to is not dumped */
	puts("1"); /* ready */
	fflush(stdout);
	if (getchar() != EOF) abort();
	return 0;
}
