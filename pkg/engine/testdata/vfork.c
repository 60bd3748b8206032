/* Uses the library, and waits uninterruptibly for a child that never comes. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>
int one(void);

int main(void)
{
	printf("%d\n", one());
	fflush(stdout);
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) pause();
	}
	return 0;
}
