/*
 * Never rests, and notes in a file that is mapped by others, too, the longest time in nanoseconds in which it did not get on.
 * Whoever writes 0 there begins anew.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	volatile uint64_t *longest = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (longest == MAP_FAILED)
		return 1;
	puts("ready");
	fflush(stdout);
	for (uint64_t last = now(), t;; last = t) {
		t = now();
		if (t - last > *longest)
			*longest = t - last;
	}
}
