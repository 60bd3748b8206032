/* Calls both versions of bar, the old one as a program does that was linked long ago, and same. */
#include <stdio.h>

int bar_v1(int x);
int bar_v2(int x);
int same(int x);

__asm__(".symver bar_v1, bar@V1");
__asm__(".symver bar_v2, bar@V2");

int main(void)
{
	char line[64];
	setlinebuf(stdout);
	puts("ready");
	while (fgets(line, sizeof line, stdin))
		printf("%d %d %d\n", bar_v1(0), bar_v2(0), same(0));
	return 0;
}
