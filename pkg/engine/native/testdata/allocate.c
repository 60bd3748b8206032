// A program that prints what fresh memory contains, for each line of its input.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *spin(void *arg)
{
	for (;;) {
		char *volatile p = malloc(24);
		p[0] = 1;
		free(p);
	}
	return arg;
}

int main(int argc, char **argv)
{
	char line[64];
	(void)argc;
	setvbuf(stdout, 0, _IONBF, 0);
	for (int i = 0; i < atoi(argv[2]); i++) {
		pthread_t t;
		pthread_create(&t, 0, spin, 0);
	}
	puts("ready");
	while (fgets(line, sizeof line, stdin)) {
		char *volatile p = malloc(100000);
		puts(strncmp(p, "glibc-livepatch", 16) ? "glibc" : p);
		memset(p, 0, 100000);
		free(p);
	}
	return 0;
}
