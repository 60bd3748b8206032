// A program that, asked for it, keeps a pointer that the library has given it in the red zone of a leaf function only, until
// it is asked again: then it says what the pointer leads to.
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int first(void);
const char *text(char *);
long keeps(const char *p, volatile int *go);

static volatile int flags[2];
static void *keep(void *arg) { return (void *)keeps(text(arg), flags); }

int main(void)
{
	static char to[64];
	char line[64];
	pthread_t t;
	void *r;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		if (!strcmp(line, "keep\n")) {
			flags[0] = flags[1] = 0;
			pthread_create(&t, 0, keep, to);
			while (!flags[1])
				usleep(100);
			puts("ok");
		} else {
			flags[0] = 1;
			pthread_join(t, &r);
			printf("%.7s\n", (char *)&r);
		}
		fflush(stdout);
	}
	return 0;
}
