/*
 * What is patched. It answers each line of its input, a question, by a line, until the input ends:
 *
 *	malloc       what is in a fresh block of memory
 *	memcpy       what a copy of a question is, and whether copies are right
 *	memcpy_chk   what a copy by __memcpy_chk is
 *	address      where the implementation of memcpy is that this process uses
 *	static       what asctime says of the first second
 *	variable     what random says after srandom(7)
 *	threadlocal  malloc_usable_size of a block of 24 bytes, in two threads that freed 3 and 5 blocks of 1000 bytes
 *	hammer N     starts N threads that do nothing but lock one mutex and unlock it
 *	mutex        which pthread_mutex_lock all of them used since the question: "original", "patched" or "both", and whether
 *	             the lock kept them apart
 */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The compiler must not know what they are: it would leave calls out. */
static void *(*volatile allocate)(size_t) = malloc;
static void (*volatile release)(void *) = free;
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
static void *(*volatile move)(void *, const void *, size_t) = memmove;

/* What memcpy is with -D_FORTIFY_SOURCE: it looks at the size of the destination, and goes on into the memcpy behind it. */
extern void *__memcpy_chk(void *, const void *, size_t, size_t);
static void *(*volatile checked_copy)(void *, const void *, size_t, size_t) = __memcpy_chk;

static void answer_malloc(void)
{
	char *block = allocate(32);

	puts(memcmp(block, "glibc-livepatch", 16) == 0 ? "glibc-livepatch" : "glibc");
	release(block);
}

static void answer_memcpy(void)
{
	static char from[70000], to[70000];
	const char question[] = "is memcpy patched?";
	char answer[sizeof question];
	static const size_t sizes[] = {0, 1, 7, 8, 15, 31, 33, 64, 100, 129, 255, 1000, 4097, 69000};

	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (char)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		memset(to, 0, sizeof to);
		copy(to + 3, from + 1, sizes[i]);
		move(to + 5, to + 3, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			if (to[5 + k] != from[1 + k]) {
				printf("wrong at %zu of %zu\n", k, sizes[i]);
				return;
			}
	}
	copy(answer, question, sizeof question);
	puts(answer);
}

static void answer_memcpy_chk(void)
{
	const char question[] = "is memcpy patched?";
	char answer[sizeof question];

	checked_copy(answer, question, sizeof question, sizeof answer);
	puts(answer);
}

static void answer_static(void)
{
	time_t first = 0;

	fputs(asctime(gmtime(&first)), stdout);
}

static void answer_variable(void)
{
	srandom(7);
	printf("%ld\n", random());
}

struct cache {
	int blocks;
	size_t usable;
};

static void *ask_cache(void *argument)
{
	struct cache *c = argument;
	void *blocks[7], *small = allocate(24);

	for (int i = 0; i < c->blocks; i++)
		blocks[i] = allocate(1000);
	for (int i = 0; i < c->blocks; i++)
		release(blocks[i]);
	c->usable = malloc_usable_size(small);
	release(small);
	return NULL;
}

static void answer_threadlocal(void)
{
	struct cache caches[2] = {{3, 0}, {5, 0}};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, ask_cache, &caches[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%zu %zu\n", caches[0].usable, caches[1].usable);
}

enum { MOST_THREADS = 64 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long first, second; /* equal, while nobody holds the mutex */
static int broken;
static int threads;
static struct {
	uint64_t rounds; /* and, in the upper half, how many of them were with the patched function: both change at once */
	char pad[120];
} counts[MOST_THREADS];

static void *hammer(void *argument)
{
	intptr_t me = (intptr_t)argument;

	for (;;) {
		pthread_mutex_lock(&mutex);
		int patched = mutex.__data.__spins == 77;
		mutex.__data.__spins = 0;
		if (first != second)
			__atomic_store_n(&broken, 1, __ATOMIC_RELAXED);
		first++;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		second++;
		pthread_mutex_unlock(&mutex);
		__atomic_store_n(&counts[me].rounds, counts[me].rounds + 1 + ((uint64_t)patched << 32), __ATOMIC_RELEASE);
		sched_yield(); /* the mutex is not fair: without this some would wait for ever */
	}
	return NULL;
}

static void start_hammer(int n)
{
	pthread_t thread;

	for (; threads < n && threads < MOST_THREADS; threads++)
		if (pthread_create(&thread, NULL, hammer, (void *)(intptr_t)threads) != 0) {
			puts("no thread");
			return;
		}
	printf("%d threads\n", threads);
}

static uint64_t rounds_of(int thread)
{
	return __atomic_load_n(&counts[thread].rounds, __ATOMIC_ACQUIRE);
}

/* Waits until each thread has come n rounds further; the first of them may have begun before. */
static void wait_rounds(uint32_t n)
{
	for (int i = 0; i < threads; i++) {
		uint32_t start = (uint32_t)rounds_of(i);

		while ((uint32_t)rounds_of(i) - start < n)
			sched_yield();
	}
}

static void answer_mutex(void)
{
	uint64_t start[MOST_THREADS], rounds = 0;
	uint32_t all, patched;

	wait_rounds(2);
	for (int i = 0; i < threads; i++)
		start[i] = rounds_of(i);
	wait_rounds(3);
	for (int i = 0; i < threads; i++)
		rounds += rounds_of(i) - start[i];
	all = (uint32_t)rounds;
	patched = rounds >> 32;
	printf("%s%s\n", patched == 0 ? "original" : patched == all ? "patched" : "both",
	       __atomic_load_n(&broken, __ATOMIC_RELAXED) ? ", and two held the mutex" : "");
}

int main(void)
{
	char line[100];
	int n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, "malloc") == 0)
			answer_malloc();
		else if (strcmp(line, "memcpy") == 0)
			answer_memcpy();
		else if (strcmp(line, "memcpy_chk") == 0)
			answer_memcpy_chk();
		else if (strcmp(line, "address") == 0)
			printf("%#lx\n", (unsigned long)(uintptr_t)copy);
		else if (strcmp(line, "static") == 0)
			answer_static();
		else if (strcmp(line, "variable") == 0)
			answer_variable();
		else if (strcmp(line, "threadlocal") == 0)
			answer_threadlocal();
		else if (strcmp(line, "mutex") == 0)
			answer_mutex();
		else if (sscanf(line, "hammer %d", &n) == 1)
			start_hammer(n);
		else
			puts("what?");
	}
	return 0;
}
