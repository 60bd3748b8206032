// A process that maps a file in ways that come near to those of the engine, and has it open.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char *at(uintptr_t window)
{
	window >>= 26; // see signedIn
	return (char *)(window << 26 | window * 0x9e3779b97f4a7c15 >> (64 - 14) << 12);
}

static void map(char *at, size_t size, int prot, int fd, off_t off)
{
	if (mmap(at, size, prot, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0) | MAP_FIXED_NOREPLACE, fd, off) != at)
		_exit(3);
}

int main(int argc, char **argv)
{
	char line[64];
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const int code = PROT_READ | PROT_EXEC;
	const uintptr_t window = 1 << 26, first = 0x100000000000;
	map(at(first), 16384, code, fd, 0);                 // all of it
	map(at(first + 2 * window), 16384, code, fd, 4096); // a part
	map(at(first + 4 * window), 4096, code, fd, 4096);  // a page
	map(at(first + 6 * window), 4096, code, fd, 4096);  // a page, and what follows
	map(at(first + 6 * window) + 4096, 8192, code, fd, 8192);
	map(at(first + 8 * window), 4096, code, fd, 4096); // and data
	map(at(first + 8 * window) + 4096, 8192, PROT_READ | PROT_WRITE, -1, 0);
	map(at(first + 10 * window) + 8192, 4096, code, fd, 4096); // in a place that is not signed
	map(at(first + 10 * window) + 12288, 4096, code, fd, 4096);
	printf("%d\n", getpid());
	fflush(stdout);
	while (fgets(line, sizeof line, stdin))
		;
	return 0;
}
