/* Coroutines whose stacks are pieces of a thread's stack, each made by a deeper call that keeps 16 KiB free for itself. The first
   one computes, with DEEP KiB and 4 more of its piece in use, until standard input ends; below it lies what the next one keeps.
   Then each prints how many bytes of what it kept were changed. Usage: pieces first|other, the thread that does it. */
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 16 << 10, COUNT = 4 };

static jmp_buf top[COUNT], scheduler;

/* for the tracer to call */
long sum(long a, long b) { return a + b; }

static void spin(void)
{
	char c;
	do
		for (volatile int i = 0; i < 10000; i++)
			;
	while (read(0, &c, 1) != 0);
}

static __attribute__((noinline)) void body(int n)
{
	unsigned char *data = alloca(4096);
	memset(data, 0x40 + n, 4096);
	if (n == 0) {
		char *deep = alloca(DEEP << 10);
		memset(deep, 7, DEEP << 10);
		if (!setjmp(top[n]))
			longjmp(scheduler, 1);
		spin();
		longjmp(scheduler, 2);
	}
	if (!setjmp(top[n]))
		longjmp(scheduler, 1);
	long bad = 0;
	for (int i = 0; i < 4096; i++)
		bad += data[i] != 0x40 + n;
	printf("%ld\n", bad);
	longjmp(scheduler, 2);
}

static __attribute__((noinline)) void at_depth(int n, int depth)
{
	volatile char gap[PIECE];
	gap[0] = 1;
	if (depth)
		at_depth(n, depth - 1);
	else
		body(n);
	gap[1] = gap[0];
}

static void *work(void *unused)
{
	for (volatile int n = 0; n < COUNT; n++)
		if (!setjmp(scheduler))
			at_depth(n, n);
	printf("ready\n%ld\n", (long)sum);
	if (!setjmp(scheduler))
		longjmp(top[0], 1);
	for (volatile int n = 1; n < COUNT; n++)
		if (!setjmp(scheduler))
			longjmp(top[n], 1);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t t;
	setvbuf(stdout, NULL, _IONBF, 0);
	fcntl(0, F_SETFL, O_NONBLOCK);
	if (argc > 1 && !strcmp(argv[1], "first"))
		work(0);
	else if (!pthread_create(&t, 0, work, 0))
		pthread_join(t, 0);
	return 0;
}
