// A process that has mapped its library's code anew so that what is written there goes into the file, and answers as target does.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int first(void);

int main(void)
{
	char line[512], path[256] = "", flags[8];
	unsigned long from, to, offset;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps) &&
	       (sscanf(line, "%lx-%lx %7s %lx %*s %*s %255s", &from, &to, flags, &offset, path) != 5 ||
		!strstr(path, "/libtarget.so") || strcmp(flags, "r-xp")))
		;
	int fd = open(path, O_RDWR);
	if (mmap((void *)from, to - from, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, offset) == MAP_FAILED)
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%d\n", first());
		fflush(stdout);
	}
	return 0;
}
