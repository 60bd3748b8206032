/*
 * Shows the live patch at work: prints ten times a second whether a new block of memory contains
 * the text "glibc-livepatch", as it does once the patch is applied. The optional argument is the
 * number of rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The compiler must not know the function, or it would optimize the call away. */
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
