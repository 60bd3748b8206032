// A program that loads the library as a plugin, and says what first() returns for each line of its input; with NAMESPACE
// in a link namespace of its own, with TWICE also as everybody else.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*function)(void);

static function first_of(void *l)
{
	return l ? (function)dlsym(l, "first") : 0;
}

int main(void)
{
	char line[64];
	char *plugin = getenv("PLUGIN");
	void *l = getenv("NAMESPACE") ? dlmopen(LM_ID_NEWLM, plugin, RTLD_NOW) : dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
	function first = first_of(l), other = getenv("TWICE") ? first_of(dlopen(plugin, RTLD_NOW | RTLD_LOCAL)) : 0;
	puts(first ? "ready" : dlerror());
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		if (!strcmp(line, "other\n") && !other) // loaded now
			other = first_of(dlopen(plugin, RTLD_NOW | RTLD_LOCAL));
		if (other)
			printf("%d %d\n", first(), other());
		else
			printf("%d\n", first());
		fflush(stdout);
	}
	return 0;
}
