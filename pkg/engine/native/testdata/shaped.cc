// Calls the functions of shapes.S and shapes.cc, in threads all the time, and compares what they return with what they should: as
// they are, or replaced. "check" says how many are which; "wrong" says what a thread saw.
#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <unistd.h>

struct ops { long (*other)(long); long (*fn)(long); };
typedef long shape(long, long (*)(long), ops *);
#define SHAPES(X) X(branch, x ? x + 1 : 77) X(branches, x ? x + 1 : 77) X(near, x > 5 ? 79 : x + 1) X(loop, 5) X(skip, x + 3) \
	X(tail, x + 10) X(pointer, x + 10) X(call, x + 11) X(call_first, x + 12) X(call_pointer, 2 * x + 10) X(call_argument, x + 21) \
	X(call_field, x + 20) X(short, x) X(zero, 0) X(rep, x) X(memory, x + 1000) X(compare, x + 6) \
	X(throws, x == 3 ? -3 : x + 31) X(virtual, x + 20) X(recursion, factorial(x)) X(switch, switched(x))
#define DECLARE(name, want) extern "C" long s_##name(long, long (*)(long), ops *);
SHAPES(DECLARE)

static long adds(long x) { return x + 20; }
static ops table = {0, adds};
static long factorial(long x) { return x <= 1 ? 1 : x * factorial(x - 1); }
static long switched(long x) { static const long to[] = {100, 211, 322, 133, 544, 155, 966}; return x < 7 ? to[x] : x; }

#define MODEL(name, want) static long name##_wants(long x) { return want; }
SHAPES(MODEL)
#define ROW(name, want) {#name, s_##name, name##_wants},
static const struct { const char *name; shape *f; long (*wants)(long); } shapes[] = {SHAPES(ROW)};
enum { COUNT = sizeof shapes / sizeof shapes[0], REPLACED = 424242 };

// call returns 0 if it is as it was, 1 if it is replaced, 2 if it is wrong.
static int call(int i, long x) {
	long got;
	try {
		got = shapes[i].f(x, adds, &table);
	} catch (long thrown) {
		got = -thrown;
	}
	return got == shapes[i].wants(x) ? 0 : got == REPLACED ? 1 : 2;
}

static volatile unsigned long *page;
static const char *volatile wrong = "";
static void *hammer(void *arg) {
	for (;;) {
		for (int i = 0; i < COUNT; i++)
			for (long x = 0; x < 9; x++)
				if (call(i, x) == 2) {
					wrong = shapes[i].name;
					page[1]++;
				}
		page[2 + (long)arg]++;
	}
	return 0;
}

#include <fcntl.h>
#include <sys/mman.h>
#include <cstring>

int main(int argc, char **argv) {
	page = (volatile unsigned long *)mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(argv[1], O_RDWR), 0);
	for (long n = 0; n < atoi(argv[2]); n++) {
		pthread_t t;
		pthread_create(&t, 0, hammer, (void *)n);
	}
	printf("ready\n");
	fflush(stdout);
	for (char line[64]; fgets(line, sizeof line, stdin); fflush(stdout)) {
		int counts[3] = {};
		for (int i = 0; i < COUNT; i++) {
			int worst = call(i, 0);
			for (long x = 1; x < 9; x++) {
				int is = call(i, x);
				worst = is == worst ? is : 2;
			}
			if (worst == 2)
				wrong = shapes[i].name;
			counts[worst]++;
		}
		if (!strncmp(line, "check", 5))
			printf("%d original, %d replaced, %d wrong%s%s\n", counts[0], counts[1], counts[2], *wrong ? " " : "", wrong);
		else
			printf("%d\n", COUNT);
	}
}
