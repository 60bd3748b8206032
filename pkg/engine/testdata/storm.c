/*
 * Makes processes that end at once, one after the other, as fast as can be: by vfork if there is an argument, else by fork. It
 * answers each line of input with the number of them so far, and how often process numbers have begun again.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	volatile long *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *laps = made + 1;
	char line[64];
	if (made == MAP_FAILED)
		return 1;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int last = 0;; (*made)++) {
			int pid = argc > 1 ? vfork() : fork();
			if (pid == 0)
				_exit(0);
			if (pid < 0 || waitpid(pid, NULL, 0) != pid)
				_exit(1);
			*laps += pid < last;
			last = pid;
		}
	}
	puts("ready");
	for (fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout))
		printf("%ld %ld\n", *made, *laps);
}
