/*
 * Shows the live patch at work: prints what a fresh block of memory holds, ten times a second, until it is ended or has
 * done so as often as its argument says. Before the patch the block is empty, afterwards it says "glibc-livepatch".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The compiler must not know the function: it would leave the call out. */
static void *(*volatile allocate)(size_t) = malloc;

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : -1;
	int patched = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (rounds < 0 || rounds-- > 0) {
		char *block = allocate(32);
		patched = block && memcmp(block, "glibc-livepatch", 16) == 0;
		puts(patched ? "glibc-livepatch" : "glibc");
		free(block);
		usleep(100000);
	}
	return patched ? 0 : 1;
}
