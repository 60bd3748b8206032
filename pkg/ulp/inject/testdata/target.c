// A process to be patched. It answers one line for each line of its standard input, and with "threads N" has N threads
// that call functions all the time and compare what they return with what they should, in a page of a shared file.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int first(void), second(void), reads_secret(void), reads_mine(void), blocks(int), calls(int (*)(int), int);
int deep(int, int (*)(int), int);
const char *text(char *);

static struct page {
	volatile unsigned long expect; // what first() and second() return; 0: either
	volatile unsigned long wrong;
	volatile unsigned long counts[500];
} *page;

static void *hammer(void *arg) {
	long n = (long)arg;
	char to[64];
	if (getenv("SPIN")) // in code of its own
		for (;;)
			page->counts[n]++;
	for (;;) {
		unsigned long before = page->expect;
		unsigned long r = first(), s = second();
		text(to);
		__sync_synchronize();
		if (page->expect == before && before != 0 && (r != before || s != before))
			__sync_fetch_and_add(&page->wrong, 1);
		if ((r != 1 && r != 2) || (s != 1 && s != 2) || (strcmp(to, "original") && strcmp(to, "patched")))
			__sync_fetch_and_add(&page->wrong, 1);
		page->counts[n]++;
		if (n >= 8)
			sched_yield(); // so many that each gets its turn more often
	}
	return 0;
}

static int pipes[2];
static int wait_for_byte(int fd) { char c; return read(fd, &c, 1) == 1 ? 5 : -1; }
static long result;
static void *blocked(void *arg) {
	const char *how = arg;
	if (!strcmp(how, "calls"))
		result = calls(wait_for_byte, pipes[0]);
	else if (!strcmp(how, "deep"))
		result = deep(1000, wait_for_byte, pipes[0]);
	else
		result = blocks(pipes[0]);
	return 0;
}

static void on_signal(int s) { (void)s; result = calls(wait_for_byte, pipes[0]); }

static void *signalled(void *arg) {
	(void)arg;
	static char stack[1 << 16];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
	sigaltstack(&ss, 0);
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
	sigaction(SIGUSR1, &sa, 0);
	raise(SIGUSR1);
	return 0;
}

static int outer(int arg) { (void)arg; signalled(0); return 0; }
static void *in_handler(void *arg) { (void)arg; calls(outer, 0); return 0; }

static pthread_t thread;

static void start(void *(*f)(void *), void *arg) {
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_create(&thread, &a, f, arg);
	usleep(20000);
}

static void *cancel_me(void *arg) { (void)arg; return (void *)(long)calls(wait_for_byte, pipes[0]); }

// filter installs a system call filter for all threads: number nr gets action, all others are allowed.
static int filter(unsigned nr, unsigned action) {
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_STMT(BPF_ST, 3),
		BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 3),
		BPF_STMT(BPF_MISC | BPF_TXA, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof f / sizeof f[0], f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &p);
}

static void command(char *line) {
	char word[64] = "", to[64] = "";
	long n = 0;
	sscanf(line, "%63s %ld", word, &n);
	if (!strcmp(word, "all")) {
		int a = first(), b = second(), c = reads_secret(), d = reads_mine();
		printf("%d %d %d %d %s\n", a, b, c, d, text(to));
	} else if (!strcmp(word, "block") || !strcmp(word, "calls") || !strcmp(word, "deep")) {
		start(blocked, strdup(word));
		printf("ok\n");
	} else if (!strcmp(word, "signal")) {
		start(in_handler, 0);
		printf("ok\n");
	} else if (!strcmp(word, "release")) {
		(void)!write(pipes[1], "x", 1);
		pthread_join(thread, 0);
		printf("%ld\n", result);
	} else if (!strcmp(word, "cancel")) {
		void *r = 0;
		pthread_create(&thread, 0, cancel_me, 0);
		usleep(20000);
		pthread_cancel(thread);
		pthread_join(thread, &r);
		printf("%s\n", r == PTHREAD_CANCELED ? "cancelled" : "returned");
	} else if (!strcmp(word, "forkserve")) { // the child goes on answering
		int p = fork();
		if (p == 0) {
			printf("%d\n", getpid());
			fflush(stdout);
			return;
		}
		waitpid(p, 0, 0);
		_exit(0);
	} else if (!strcmp(word, "as")) { // no more address space than there is
		struct rlimit r = {4096, 4096};
		setrlimit(RLIMIT_AS, &r);
		printf("ok\n");
	} else if (!strcmp(word, "nofile")) {
		struct rlimit r = {0, 0};
		setrlimit(RLIMIT_NOFILE, &r);
		printf("ok\n");
	} else if (!strcmp(word, "allow")) {
		printf("%d\n", filter(-1, SECCOMP_RET_ALLOW));
	} else if (!strcmp(word, "kill")) {
		printf("%d\n", filter(n, SECCOMP_RET_KILL_PROCESS));
	} else if (!strcmp(word, "deny")) {
		printf("%d\n", filter(n, SECCOMP_RET_ERRNO | 1));
	} else if (!strcmp(word, "strict")) {
		printf("ok\n");
		fflush(stdout);
		prctl(PR_SET_SECCOMP, 1, 0, 0, 0);
		return;
	} else if (!strcmp(word, "mdwe")) {
		printf("%d\n", prctl(65, 1, 0, 0, 0)); // PR_SET_MDWE
	} else if (!strcmp(word, "full")) { // nothing is free within reach
		long done = 0;
		unsigned long lib = (unsigned long)first & -(1ul << 20), near = 4ul << 20;
		for (unsigned long a = lib - 0x90000000ul, step; a < lib + 0x90000000ul; a += step) {
			step = a >= lib - near && a < lib + near ? 4096 : 1 << 16;
			if (mmap((void *)a, step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | 0x100000, -1, 0) != MAP_FAILED)
				done++;
		}
		printf("%ld\n", done);
	} else if (!strcmp(word, "exec")) {
		execl("/proc/self/exe", "target", "-", "0", (char *)0);
	} else if (!strcmp(word, "rss")) {
		long pages, resident = 0;
		FILE *f = fopen("/proc/self/statm", "r");
		(void)!fscanf(f, "%ld %ld", &pages, &resident);
		fclose(f);
		printf("%ld\n", resident);
	} else if (!strcmp(word, "split")) {
		int (*f)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "split");
		printf("%d\n", f());
	} else if (!strcmp(word, "load")) {
		line[strcspn(line, "\n")] = 0;
		printf("%s\n", dlopen(line + 5, RTLD_NOW) ? "ok" : dlerror());
	} else if (!strcmp(word, "exit")) {
		exit(0);
	} else {
		printf("what?\n");
	}
	fflush(stdout);
}

int main(int argc, char **argv) {
	(void)argc;
	if (strcmp(argv[1], "-")) {
		int fd = open(argv[1], O_RDWR);
		page = mmap(0, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	(void)!pipe(pipes);
	for (long i = 0; i < atol(argv[2]); i++) {
		pthread_t t;
		pthread_create(&t, 0, hammer, (void *)i);
	}
	printf("ready\n");
	fflush(stdout);
	char line[256];
	while (fgets(line, sizeof line, stdin))
		command(line);
	return 0;
}
