// A program through whose calls of the library's functions exceptions and cancellation pass. It answers one line for each
// line of its standard input: what was caught, and what was cleaned up on the way, in this order.
#include <cstdio>
#include <cstring>
#include <pthread.h>
#include <string>
#include <unistd.h>

extern "C" {
int calls(int (*)(int), int);
void plain(void (*)(), void (*)(void *), const char *);      // handlers.c, without -fexceptions
void exceptions(void (*)(), void (*)(void *), const char *); // with it
}

static std::string log;
static void note(void *word) { log += std::string(log.empty() ? "" : " ") + (const char *)word; }
struct Says {
	const char *word;
	~Says() { note((void *)word); }
};

static int pipes[2];
static int waits(int fd) { char c; return read(fd, &c, 1); }
static int throws(int n) { throw n; }
static int returns(int n) { return n; }
static int catches(int n) {
	try {
		Says s{"inside"};
		throw n;
	} catch (int n) {
		return n;
	}
}
static int spins(int) { // and can be cancelled anywhere
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
	for (;;)
		asm volatile("");
}
static int exits(int) { pthread_exit(nullptr); }
struct Calls {
	int n;
	~Calls() { calls(catches, n); note((void *)"called"); }
};

// The frames of a thread, from the outermost on.
static int (*last)(int);
static void inner() { Says s{"inner"}; calls(last, pipes[0]); }
static void middle() { Says s{"middle"}; exceptions(inner, note, "exceptions"); }
static void *top(void *) { Says s{"top"}; plain(middle, note, "plain"); return nullptr; }

static void unwind(const char *how) {
	if (!strcmp(how, "pass")) {
		Says s{"outside"};
		calls(throws, 7);
	} else if (!strcmp(how, "below")) {
		calls(catches, 7);
	} else if (!strcmp(how, "above")) {
		calls(returns, 7);
		throw 8;
	} else if (!strcmp(how, "meanwhile")) { // called by a destructor while an exception is on its way
		Calls c{7};
		throw 9;
	} else {
		pthread_t t;
		last = !strcmp(how, "exit") ? exits : !strcmp(how, "busy") ? spins : waits;
		pthread_create(&t, nullptr, top, nullptr);
		if (last != exits)
			pthread_cancel(t);
		pthread_join(t, nullptr);
	}
}

int main() {
	if (pipe(pipes) != 0)
		return 1;
	puts("ready");
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		log = "";
		try {
			unwind(line);
		} catch (int n) {
			log += (log.empty() ? "caught " : ", caught ") + std::to_string(n);
		}
		puts(log.c_str());
		fflush(stdout);
	}
}
