// A program that loads the library as a plugin, and says what first() returns for each line of its input.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char line[64];
	void *l = getenv("NAMESPACE") ? dlmopen(LM_ID_NEWLM, getenv("PLUGIN"), RTLD_NOW)
				      : dlopen(getenv("PLUGIN"), RTLD_NOW | RTLD_LOCAL);
	int (*first)(void) = l ? (int (*)(void))dlsym(l, "first") : 0;
	puts(first ? "ready" : dlerror());
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%d\n", first());
		fflush(stdout);
	}
	return 0;
}
