/* A thread whose system calls are dispatched to the program (prctl PR_SET_SYSCALL_USER_DISPATCH): all are blocked, and each ends
   the process with SIGSYS. It only counts. Usage: dispatched COUNTERS [alone|beside|allowed], COUNTERS being a file that is mapped. With
   beside there is another thread, which is not dispatched; with allowed, calls from anywhere in the address space are allowed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static volatile char selector;

static void *beside(void *counter)
{
	for (;;) ++*(volatile uint64_t *)counter;
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR), all = argc > 2 && !strcmp(argv[2], "allowed");
	volatile uint64_t *counters = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pthread_t t;

	if (fd < 0 || counters == MAP_FAILED) return 1;
	alarm(60);
	if (argc > 2 && !strcmp(argv[2], "beside") && pthread_create(&t, 0, beside, (void *)(counters + 1))) return 2;
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, all ? -1L : 0, &selector)) return 3;
	puts("ready");
	fflush(stdout);
	selector = 1; /* from here on */
	for (;;) ++counters[0];
}
