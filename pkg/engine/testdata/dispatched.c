/* Uses the library, and handles its system calls itself, or would if the selector said so. */
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int one(void);

int main(void)
{
	static char selector;
	prctl(59, 1, 0, 0, &selector); /* PR_SET_SYSCALL_USER_DISPATCH */
	printf("%d\n", one());
	fflush(stdout);
	for (;;) pause();
}
