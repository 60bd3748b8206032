/* Starts itself anew N times, and then a program: execs N PROGRAM [ARGUMENT...]. It says when it begins. With PAUSE in its
   environment it waits that many microseconds each time. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int left = atoi(argv[1]);
	char next[16];
	if (argc < 3) return 1;
	if (!getenv("BEGUN")) {
		setenv("BEGUN", "1", 1);
		puts("begins"), fflush(stdout);
	}
	if (getenv("PAUSE")) usleep(atoi(getenv("PAUSE")));
	if (left == 0) return execv(argv[2], argv + 2);
	snprintf(next, sizeof next, "%d", left - 1);
	argv[1] = next;
	return execv("/proc/self/exe", argv);
}
