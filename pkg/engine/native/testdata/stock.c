// Uses functions of the machine's own libz and libc in threads, all the time, and compares their results with what they should
// be, whether they are replaced (see stock_lp.c) or not. "check" says which are.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct {
	const unsigned char *next_in; unsigned avail_in; unsigned long total_in;
	unsigned char *next_out; unsigned avail_out; unsigned long total_out;
	const char *msg; void *state, *alloc, *free, *opaque; int type; unsigned long adler, reserved;
} z_stream;
int deflateInit_(z_stream *, int, const char *, int), deflate(z_stream *, int), deflateEnd(z_stream *);
int inflateInit_(z_stream *, const char *, int), inflate(z_stream *, int), inflateEnd(z_stream *);
unsigned long crc32(unsigned long, const unsigned char *, unsigned);

char *old_realpath(const char *, char *); // two versions
__asm__(".symver old_realpath, realpath@GLIBC_2.2.5");

enum { SIZE = 20000, REPLACED = -77, FINISH = 4, END = 1 };

static unsigned long own_crc(const unsigned char *p, unsigned n) {
	unsigned long c = 0xffffffff;
	for (; n; n--) {
		c ^= *p++;
		for (int i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
	}
	return c ^ 0xffffffff;
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

// once returns what was wrong, 0: nothing. It notes which of deflate and inflate are replaced.
static const char *once(unsigned seed, int *is) {
	unsigned char *data = malloc(SIZE), *packed = malloc(SIZE * 2), *back = malloc(SIZE);
	const char *wrong = 0;
	for (int i = 0; i < SIZE; i++)
		data[i] = rand_r(&seed) % 7 * (i % 50);
	z_stream d = {data, SIZE, 0, packed, SIZE * 2, 0}, u = {packed, 0, 0, back, SIZE, 0};
	deflateInit_(&d, 6, "1.2.11", sizeof d);
	int r = deflate(&d, FINISH);
	deflateEnd(&d);
	is[0] = r == REPLACED;
	if (r != END && r != REPLACED)
		wrong = "deflate";
	inflateInit_(&u, "1.2.11", sizeof u);
	if (r == END) {
		u.avail_in = d.total_out;
		r = inflate(&u, FINISH);
		if (r != REPLACED && (r != END || memcmp(data, back, SIZE)))
			wrong = "inflate";
		is[1] = r == REPLACED;
	} else
		is[1] = inflate(&u, FINISH) == REPLACED;
	inflateEnd(&u);
	if (crc32(0, data, 500) != own_crc(data, 500))
		wrong = "crc32";
	int list[64], n = 3 + seed % 60;
	for (int i = 0; i < n; i++)
		list[i] = rand_r(&seed) % 1000;
	qsort(list, n, sizeof *list, ascending);
	for (int i = 1; i < n; i++)
		if (list[i - 1] > list[i])
			wrong = "qsort";
	char path[4096] = "";
	if (realpath("/proc/.", path) != path || strcmp(path, "/proc"))
		wrong = "realpath";
	free(data);
	free(packed);
	free(back);
	free(0);
	return wrong;
}

static volatile unsigned long *page;
static const char *volatile wrong;
static void *hammer(void *arg) {
	int is[2];
	for (unsigned seed = (long)arg;; seed++) {
		const char *w = once(seed, is);
		if (w) {
			wrong = w;
			page[1]++;
		}
		page[2 + (long)arg]++;
	}
	return 0;
}

int main(int argc, char **argv) {
	page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(argv[1], O_RDWR), 0);
	for (long n = 0; n < atoi(argv[2]); n++) {
		pthread_t t;
		pthread_create(&t, 0, hammer, (void *)n);
	}
	printf("ready\n");
	fflush(stdout);
	for (char line[64]; fgets(line, sizeof line, stdin); fflush(stdout)) {
		int is[2], sorted = 0;
		char path[4096];
		const char *w = once(1, is);
		qsort(&sorted, 0, 77, ascending);
		int resolved = realpath("/lpbuild/replaced", path) == path && old_realpath("/lpbuild/replaced", path) == path;
		printf("%d %d %d %d %d %s\n", is[0], is[1], crc32(77, 0, 77) == 77, sorted, resolved, w ? w : wrong ? wrong : "right");
	}
}
