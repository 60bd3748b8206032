// A process of one thread that does nothing but look at the clock. The longest time between two looks is how long it was
// kept from that: it is in the shared file, as is the number of looks.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

int first(void); // what is patched has to be here

static struct page {
	volatile unsigned long expect, wrong, looks, longest; // as target.c has it
} *page;

static unsigned long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ul + t.tv_nsec;
}

int main(int argc, char **argv) {
	(void)argc;
	int fd = open(argv[1], O_RDWR);
	page = mmap(0, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED || first() != 1)
		return 1;
	printf("ready\n");
	fflush(stdout);
	for (unsigned long last = now();; page->looks++) {
		unsigned long t = now();
		if (t - last > page->longest)
			page->longest = t - last;
		last = t;
	}
}
