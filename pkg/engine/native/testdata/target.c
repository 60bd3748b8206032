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
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

int first(void), second(void), reads_secret(void), reads_mine(void), blocks(int), calls(int (*)(int), int);
int deep(int, int (*)(int), int);
const char *text(char *);

static int sharer;

static int waits(void *unused)
{
	for (;;)
		pause();
}

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
static int goes_deep(int fd) { return deep(20000, wait_for_byte, fd); }
// points waits with pointers to functions on its stack and in a register, and calls none of them.
static int points(void) {
	int (*volatile here)(int (*)(int), int) = calls;
	register int (*there)(int (*)(int), int) asm("r12") = calls;
	asm volatile("" : "+r"(there));
	int r = wait_for_byte(pipes[0]);
	asm volatile("" : "+r"(there));
	return r + (here == there);
}

static void *blocked(void *arg) {
	const char *how = arg;
	if (!strcmp(how, "points"))
		result = points();
	else if (!strcmp(how, "far"))
		result = calls(goes_deep, pipes[0]);
	else if (!strcmp(how, "calls"))
		result = calls(wait_for_byte, pipes[0]);
	else if (!strcmp(how, "deep"))
		result = deep(20000, wait_for_byte, pipes[0]);
	else
		result = blocks(pipes[0]);
	return 0;
}

static void on_signal(int s) { (void)s; result = calls(wait_for_byte, pipes[0]); }
static void on_signal_alone(int s) { (void)s; result = wait_for_byte(pipes[0]); }

static void *signalled(void *handler) {
	static char stack[1 << 16];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
	sigaltstack(&ss, 0);
	struct sigaction sa = {.sa_handler = (void (*)(int))handler, .sa_flags = SA_ONSTACK};
	sigaction(SIGUSR1, &sa, 0);
	raise(SIGUSR1);
	return 0;
}

static void *handler;
static int outer(int arg) { (void)arg; signalled(handler); return 0; }
static void *in_handler(void *h) { handler = h; calls(outer, 0); return 0; }

static pthread_t thread;

static void *(*body)(void *);
static volatile int tid;
static void *starts(void *arg) { tid = gettid(); return body(arg); }

// reads says whether a thread waits for a byte.
static int reads(int tid) {
	char path[64], text[64] = "";
	long nr = -1, fd = -1;
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
	int f = open(path, O_RDONLY | O_CLOEXEC);
	(void)!read(f, text, sizeof text - 1);
	close(f);
	sscanf(text, "%ld 0x%lx", &nr, (unsigned long *)&fd);
	return nr == SYS_read && fd == pipes[0];
}

// start starts a thread, and returns when it waits for a byte.
static void start(void *(*f)(void *), void *arg) {
	tid = 0, body = f;
	pthread_create(&thread, 0, starts, arg);
	while (!tid || !reads(tid))
		usleep(1000);
}

static int cleaned;
static void clean(void *arg) { *(int *)arg = 1; }
static void *cancel_me(void *arg) {
	(void)arg;
	long r;
	pthread_cleanup_push(clean, &cleaned);
	r = calls(wait_for_byte, pipes[0]);
	pthread_cleanup_pop(0);
	return (void *)r;
}

// Storms: something that goes on and on, and in it both functions are called again and again. Of two calls between which
// nothing can be switched, both reach the same version.
enum { STORM = 499 }; // of the counts
static int both_wrong(int r, int s) { return (r != 1 && r != 2) || (s != 1 && s != 2); }
static void count(int wrong) {
	__sync_fetch_and_add(&page->wrong, wrong);
	__sync_fetch_and_add(&page->counts[STORM], 1);
}
static void one_fork(void) {
	int status, p = fork();
	if (p == 0) { // nobody patches the child
		int r = first(), s = second();
		_exit(r != s || both_wrong(r, s));
	}
	waitpid(p, &status, 0);
	count(status != 0);
}
static void one_spawn(void) {
	char *argv[] = {"true", 0};
	int status = -1, p;
	if (posix_spawn(&p, "/bin/true", 0, 0, argv, 0) == 0)
		waitpid(p, &status, 0);
	count(status != 0 || both_wrong(first(), second()));
}
static void *short_life(void *arg) { (void)arg; count(both_wrong(first(), second())); return 0; }
static void one_thread(void) {
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], 0, short_life, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], 0);
}
static void on_timer(int s) { (void)s; count(both_wrong(first(), second())); }
static void *storm(void *arg) {
	void (*once)(void) = (void (*)(void))arg;
	for (;;)
		once();
	return 0;
}
static void *signal_storm(void *arg) {
	static char stack[1 << 16];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction sa = {.sa_handler = on_timer, .sa_flags = SA_ONSTACK | SA_RESTART};
	(void)arg;
	sigaltstack(&ss, 0);
	sigaction(SIGUSR2, &sa, 0);
	for (;;) {
		pthread_kill(pthread_self(), SIGUSR2);
		count(both_wrong(first(), second()));
	}
	return 0;
}
static int begin(const char *name) {
	pthread_t t;
	if (!strcmp(name, "signals"))
		return pthread_create(&t, 0, signal_storm, 0);
	return pthread_create(&t, 0, storm, !strcmp(name, "forks") ? one_fork : !strcmp(name, "spawns") ? one_spawn : one_thread);
}

// exec_again starts the program anew all the time. The page remembers.
static void exec_again(char **argv) {
	for (int i = 0; i < 500000; i++) // some milliseconds
		if (both_wrong(first(), second()))
			page->wrong++;
	page->counts[STORM]++;
	execv("/proc/self/exe", argv);
}

// filter installs a system call filter for all threads, or this one only: number nr gets action, all others are allowed.
static int filter(unsigned nr, unsigned action, unsigned flags) {
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
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}

static void command(char *line) {
	char word[64] = "", to[64] = "";
	long n = 0;
	sscanf(line, "%63s %ld", word, &n);
	if (!strcmp(word, "all")) {
		int a = first(), b = second(), c = reads_secret(), d = reads_mine();
		printf("%d %d %d %d %s\n", a, b, c, d, text(to));
	} else if (!strcmp(word, "block") || !strcmp(word, "calls") || !strcmp(word, "deep") || !strcmp(word, "far") ||
		   !strcmp(word, "points")) {
		start(blocked, strdup(word));
		printf("ok\n");
	} else if (!strcmp(word, "signal")) {
		start(in_handler, on_signal);
		printf("ok\n");
	} else if (!strcmp(word, "handler")) { // which calls nothing of the library
		start(in_handler, on_signal_alone);
		printf("ok\n");
	} else if (!strcmp(word, "release")) {
		(void)!write(pipes[1], "x", 1);
		pthread_join(thread, 0);
		printf("%ld\n", result);
	} else if (!strcmp(word, "cancel")) {
		void *r = 0;
		start(cancel_me, 0);
		pthread_cancel(thread);
		pthread_join(thread, &r);
		printf("%s\n", r != PTHREAD_CANCELED ? "returned" : cleaned ? "cancelled and cleaned up" : "cancelled");
		cleaned = 0;
	} else if (!strcmp(word, "storm")) {
		char name[64] = "";
		sscanf(line, "storm %63s", name);
		printf("%d\n", begin(name));
	} else if (!strcmp(word, "forkserve")) { // the child goes on answering
		int p = fork();
		if (p == 0) {
			printf("%d\n", getpid());
			fflush(stdout);
			return;
		}
		waitpid(p, 0, 0);
		_exit(0);
	} else if (!strcmp(word, "share")) { // a process with the same memory that is no thread
		static char stack[16 << 10] __attribute__((aligned(16)));
		sharer = clone(waits, stack + sizeof stack, CLONE_VM | SIGCHLD, 0);
		printf("%d\n", sharer);
	} else if (!strcmp(word, "unshare")) {
		if (sharer > 0) // or else it was not made, and everybody would be killed
			kill(sharer, SIGKILL);
		printf("%s\n", sharer > 0 && waitpid(sharer, 0, 0) == sharer ? "ok" : "none");
	} else if (!strcmp(word, "orphan")) { // the same, but the parent is gone
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		if (fork() != 0)
			_exit(0);
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		printf("%d\n", getpid());
	} else if (!strcmp(word, "life")) { // ends by itself
		struct itimerval v = {.it_value = {.tv_usec = n}};
		struct sigaction sa = {.sa_handler = SIG_DFL};
		sigaction(SIGALRM, &sa, 0);
		printf("ok\n");
		fflush(stdout);
		setitimer(ITIMER_REAL, &v, 0);
	} else if (!strcmp(word, "as")) { // no more address space than there is
		struct rlimit r = {4096, 4096};
		setrlimit(RLIMIT_AS, &r);
		printf("ok\n");
	} else if (!strcmp(word, "code")) { // a page that can be executed, at address n
		void *at = mmap((void *)n, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		printf("%s\n", at == (void *)n ? "ok" : "taken");
	} else if (!strcmp(word, "uncode")) {
		printf("%d\n", munmap((void *)n, 4096));
	} else if (!strcmp(word, "nofile")) {
		struct rlimit r = {0, 0};
		setrlimit(RLIMIT_NOFILE, &r);
		printf("ok\n");
	} else if (!strcmp(word, "allow")) {
		printf("%d\n", filter(-1, SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_TSYNC));
	} else if (!strcmp(word, "allowone")) {
		printf("%d\n", filter(-1, SECCOMP_RET_ALLOW, 0));
	} else if (!strcmp(word, "kill")) {
		printf("%d\n", filter(n, SECCOMP_RET_KILL_PROCESS, SECCOMP_FILTER_FLAG_TSYNC));
	} else if (!strcmp(word, "deny")) {
		printf("%d\n", filter(n, SECCOMP_RET_ERRNO | 1, SECCOMP_FILTER_FLAG_TSYNC));
	} else if (!strcmp(word, "try")) { // what becomes of who calls number nr
		printf("%ld\n", syscall(n, -1, 0, 0, 0, 0, 0));
	} else if (!strcmp(word, "strict")) {
		printf("ok\n");
		fflush(stdout);
		prctl(PR_SET_SECCOMP, 1, 0, 0, 0);
		return;
	} else if (!strcmp(word, "dispatch")) { // this thread's system calls may come back as SIGSYS, or not any more
		static char selector;
		struct utsname u;
		int major = 0, minor = 0;
		uname(&u);
		sscanf(u.release, "%d.%d", &major, &minor);
		if (prctl(59, n, 0, 0, n ? &selector : 0)) // PR_SET_SYSCALL_USER_DISPATCH
			printf("no\n");
		else
			printf("%s\n", major > 6 || (major == 6 && minor >= 4) ? "ok" : "hidden");
	} else if (!strcmp(word, "mdwe")) {
		int set = prctl(65, 1, 0, 0, 0); // PR_SET_MDWE
		void *both = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		printf("%d %s\n", set, both == MAP_FAILED ? "refused" : "allowed");
	} else if (!strcmp(word, "full")) { // nothing is free within reach
		long done = 0;
		unsigned long lib = (unsigned long)first & -(1ul << 20), near = 4ul << 20;
		for (unsigned long a = lib - 0x90000000ul, step; a < lib + 0x90000000ul; a += step) {
			step = a >= lib - near && a < lib + near ? 4096 : 1 << 16;
			if (mmap((void *)a, step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | 0x100000, -1, 0) != MAP_FAILED)
				done++;
		}
		printf("%ld\n", done);
	} else if (!strcmp(word, "over")) { // a page of its own, whatever is there
		printf("%d\n", mmap((void *)n, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)n);
	} else if (!strcmp(word, "file")) { // a memory file's pages with something in them, looking like a live patch's of another library
		char *end, *at = (char *)n;
		long size = strtol(strchr(strchr(line, ' ') + 1, ' '), &end, 10);
		int fd = memfd_create("lpbuild:other", MFD_CLOEXEC);
		int ok = !ftruncate(fd, size) && mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | 0x100000, fd, 0) == at;
		if (ok) {
			memset(at, 0x5a, size);
			mprotect(at, size, PROT_READ);
		}
		close(fd);
		printf("%d\n", ok);
	} else if (!strcmp(word, "vfork")) { // until the child, whose pid is printed, is killed
		if (!vfork()) {
			dprintf(1, "%d\n", getpid());
			for (;;)
				pause();
		}
		printf("back\n");
	} else if (!strcmp(word, "unmap")) {
		printf("%d\n", munmap((void *)n, 4096));
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
	(void)!pipe2(pipes, O_CLOEXEC);
	for (long i = 0; i < atol(argv[2]); i++) {
		pthread_t t;
		pthread_create(&t, 0, hammer, (void *)i);
	}
	if (!getenv("EXEC") || page->counts[STORM] == 0)
		printf("ready\n");
	fflush(stdout);
	if (getenv("EXEC"))
		exec_again(argv);
	char line[256];
	while (fgets(line, sizeof line, stdin))
		command(line);
	return 0;
}
