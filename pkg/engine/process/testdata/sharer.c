// Makes a process that has the same memory without being a thread, as its first argument says, and prints its number: at
// once, or with a second argument when a byte comes. Who starts this ends it, and that one.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stacks[2][32 << 10] __attribute__((aligned(16)));
static volatile int made;

static int waits(void *unused)
{
	for (;;)
		pause();
}

static int leaves_one(void *unused)
{
	made = clone(waits, stacks[0] + sizeof stacks[0], CLONE_VM | SIGCHLD, 0);
	_exit(0);
}

static void *thread(void *unused)
{
	made = gettid();
	waits(0);
	return 0;
}

static int loses_first(void *unused)
{
	made = clone(waits, stacks[0] + sizeof stacks[0], CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0);
	syscall(SYS_exit, 0);
	return 1;
}

static int make(const char *kind)
{
	pthread_t t;
	if (!strcmp(kind, "child"))
		return clone(waits, stacks[0] + sizeof stacks[0], CLONE_VM | SIGCHLD, 0);
	if (!strcmp(kind, "sibling"))
		return clone(waits, stacks[0] + sizeof stacks[0], CLONE_VM | CLONE_PARENT | SIGCHLD, 0);
	if (!strcmp(kind, "fork"))
		return clone(waits, stacks[0] + sizeof stacks[0], SIGCHLD, 0);
	if (!strcmp(kind, "thread")) {
		pthread_create(&t, 0, thread, 0);
		while (!made)
			usleep(100);
		return made;
	}
	if (!strcmp(kind, "headless")) { /* its first thread has ended, and the number is that of the other one */
		clone(loses_first, stacks[1] + sizeof stacks[1], CLONE_VM | SIGCHLD, 0);
		while (!made)
			usleep(100);
		return made;
	}
	waitpid(clone(leaves_one, stacks[1] + sizeof stacks[1], CLONE_VM | SIGCHLD, 0), 0, 0);
	return made; // an orphan: its parent has ended
}

int main(int argc, char **argv)
{
	char c;
	if (argc > 2) {
		printf("0\n");
		fflush(stdout);
		if (read(0, &c, 1) != 1)
			return 1;
	}
	printf("%d\n", make(argv[1]));
	fflush(stdout);
	waits(0);
}
