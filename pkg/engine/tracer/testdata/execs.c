/* So many processes that execute this program again and again, until the first one is killed. Usage: execs NUMBER */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2) return 1;
	if (getppid() == 1) return 0;
	for (int n = atoi(argv[1]); n > 0; n--)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			break;
		} else if (n == 1) {
			puts("ready");
			fflush(stdout);
			for (;;) pause();
		}
	execl("/proc/self/exe", argv[0], "0", (char *)0);
	return 1;
}
