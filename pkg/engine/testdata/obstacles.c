/*
 * Uses the library, and makes N children of another user that nobody can patch: by PTRACE_TRACEME, or by sharing their memory
 * with a child (vfork). Usage: obstacles UID N [vfork]
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>
int one(void);

static void obstruct(int uid, int by_vfork, int ready)
{
	if (setgid(uid) || setuid(uid)) {
		perror("setuid");
		exit(1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!by_vfork && ptrace(PTRACE_TRACEME, 0, 0, 0)) {
		perror("ptrace");
		exit(1);
	}
	if (write(ready, "", 1) != 1) exit(1);
	if (by_vfork && vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) pause();
	}
	for (;;) pause();
}

int main(int argc, char **argv)
{
	int ready[2], n = atoi(argv[2]);
	char c;
	if (one() < 0 || pipe(ready)) return 1;
	for (int i = 0; i < n; i++) {
		int pid = fork();
		if (pid == 0) obstruct(atoi(argv[1]), argc > 3, ready[1]);
		if (pid < 0 || read(ready[0], &c, 1) != 1) return 1;
	}
	printf("%d\n", n);
	fflush(stdout);
	for (;;) pause();
}
