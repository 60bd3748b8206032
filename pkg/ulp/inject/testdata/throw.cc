// A program that throws through a function of the library.
#include <cstdio>
#include <cstring>

extern "C" int calls(int (*)(int), int);
static int throws(int n) { throw n; }

int main() {
	puts("ready");
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		try {
			calls(throws, 7);
			puts("returned");
		} catch (int n) {
			printf("caught %d\n", n);
		}
		fflush(stdout);
	}
}
