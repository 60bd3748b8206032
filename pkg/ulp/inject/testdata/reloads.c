// A program that loads, unloads and calls plugins as its input says: "open PATH" and "close"; for any other line it says what
// first() returns.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

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
		} else {
			printf("%d\n", ((int (*)(void))dlsym(l, "first"))());
		}
		fflush(stdout);
	}
	return 0;
}
