// A program that can have the dynamic loader load something, and says what first() returns for each other line of its input.
// With TAKES=function it takes the address of a function of the library, which then is the same for everybody: if the program has a fixed
// address, a place in the program. With COPIES it uses a variable of the library, and so has it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int first(void);
extern int variable;
#ifdef TAKES
int TAKES(void);
int (*volatile taken)(void);
#endif

int main(void)
{
	char line[4096];
#ifdef TAKES
	taken = TAKES;
#endif
#ifdef COPIES
	variable++;
#endif
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "load ", 5))
			puts(dlopen(line + 5, RTLD_NOW | RTLD_LOCAL) ? "ok" : dlerror());
		else
			printf("%d\n", first());
		fflush(stdout);
	}
	return 0;
}
