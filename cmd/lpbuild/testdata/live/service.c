/*
 * A program that runs with another build of the C library than the one it is linked against: it loads the file that its argument
 * names and asks that library's malloc. A library that is loaded so is patched as any other.
 *
 * It says what a fresh block of memory holds: once when it is ready, and again for each line that it reads. With FAKE set to
 * "vfork" it never reads: it waits in the kernel for a child of vfork, as a process that nobody can stop.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	char *(*allocate)(size_t) = library ? (char *(*)(size_t))dlsym(library, "malloc") : NULL;

	if (!allocate) {
		fprintf(stderr, "%s: %s\n", argv[0], dlerror());
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	do {
		char *block = allocate(32);

		puts(block && *block ? block : "glibc");
		if (getenv("FAKE") && !strcmp(getenv("FAKE"), "vfork") && vfork() == 0)
			for (;;)
				pause();
	} while (getchar() != EOF);
	return 0;
}
