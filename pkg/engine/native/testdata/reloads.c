// A program that loads, unloads and calls plugins as its input says: "open PATH" and "close"; "move" moves the page of first(), and
// the rest of the code there, into memory without a file. For any other line it says what first() returns.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

// move moves the code that an address is in, as programs do that want it in huge pages.
static const char *move(void *code)
{
	char line[4096];
	unsigned long at = (unsigned long)code, from = 0, to = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && at >= from && at < to)
			break;
	fclose(maps);
	void *copy = mmap(0, to - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(copy, (void *)from, to - from);
	if (mprotect(copy, to - from, PROT_READ | PROT_EXEC) ||
	    mremap(copy, to - from, to - from, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)from) != (void *)from)
		return "not moved";
	return "moved";
}

int main(void)
{
	char line[4096];
	void *l = 0;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "open ", 5)) {
			l = dlopen(line + 5, RTLD_NOW | RTLD_LOCAL);
			puts(l ? "open" : dlerror());
		} else if (!strcmp(line, "close")) {
			puts(dlclose(l) ? dlerror() : "closed");
		} else if (!strcmp(line, "move")) {
			puts(move(dlsym(l, "first")));
		} else {
			printf("%d\n", ((int (*)(void))dlsym(l, "first"))());
		}
		fflush(stdout);
	}
	return 0;
}
