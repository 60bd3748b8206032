// A program that uses a variable of the library directly, and so has it: the linker makes a COPY relocation. It adds one to
// it, and says what the library sees and what first() returns, for each line of its input.
#include <stdio.h>

extern int visible;
int first(void), reads_visible(void);

int main(void)
{
	char line[64];
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		visible++;
		printf("%d %d\n", reads_visible(), first());
		fflush(stdout);
	}
	return 0;
}
