/* Calls the library's functions, says what they return for each line of its input, and ends with the input. Usage:
   program [THREADS]: so many threads more call one() all the time, and end the process if it returns what no patch makes;
   if the number is negative, they sleep. A line that begins with b makes a thread more, which calls blocks() with the FIFO that
   the variable FIFO names, until that returns; with the variable ENTER there is one from the beginning. One that begins with p
   makes one that has pointers to functions on its stack and in a register, and calls none of them. With the variable TITLE
   it shows that in place of its command line and environment, which it keeps elsewhere, as daemons do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int one(void), two(void), bare(void), sum(void), blocks(const char *);

static void *block(void *fifo)
{
	blocks(fifo);
	return 0;
}

static void *point(void *unused)
{
	int (*volatile here)(const char *) = blocks;
	register int (*there)(void) asm("r12") = one;
	asm volatile("" : "+r"(there));
	for (;;) {
		pause();
		asm volatile("" : "+r"(there));
		if (!here) return unused;
	}
}

static void *nap(void *unused)
{
	for (;;) pause();
	return unused;
}

static void *call(void *unused)
{
	for (;;) {
		int v = one();
		if (v != 1 && v != 10 && v != 20) _exit(99);
	}
	return unused;
}

#ifdef COPY /* of the variable, which the program has then */
extern char **environ;
#define ENVIRON &environ
#else
#define ENVIRON dlsym(RTLD_DEFAULT, "environ")
#endif

static void show(const char *title, char **argv)
{
	char ***env = ENVIRON, **moved = calloc(1000, sizeof *moved), *end = *argv;
	for (int i = 0; argv[i]; i++) end = argv[i] + strlen(argv[i]) + 1;
	for (int i = 0; (*env)[i]; i++) {
		end = (*env)[i] + strlen((*env)[i]) + 1;
		moved[i] = strdup((*env)[i]);
	}
	*env = moved;
	title = strdup(title);
	memset(*argv, 0, end - *argv);
	strcpy(*argv, title);
}

int main(int argc, char **argv)
{
	char line[64] = "";
	pthread_t t;
	int threads = argc > 1 ? atoi(argv[1]) : 0;
	if (getenv("TITLE")) show(getenv("TITLE"), argv);
	for (int n = abs(threads); n > 0; n--) {
		pthread_create(&t, 0, threads > 0 ? call : nap, 0);
	}
	do {
		if (line[0] == 'b' || (!line[0] && getenv("ENTER"))) pthread_create(&t, 0, block, getenv("FIFO"));
		if (line[0] == 'p') pthread_create(&t, 0, point, 0);
		printf("%d %d %d %d\n", one(), two(), bare(), sum());
		fflush(stdout);
	} while (fgets(line, sizeof line, stdin));
	return 0;
}
