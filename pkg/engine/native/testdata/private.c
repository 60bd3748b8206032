// A library of which only one function is exported, and a program that calls it for each line.
#ifdef LIBRARY
static __attribute__((noinline, noclone)) int hidden(int x) { return x * 7 + 1; }
int shown(int x) { return hidden(x) + hidden(x + 1); }
#else
#include <stdio.h>
int shown(int);
int main(void) {
	printf("ready\n");
	fflush(stdout);
	for (char line[64]; fgets(line, sizeof line, stdin); fflush(stdout))
		printf("%d\n", shown(1));
}
#endif
