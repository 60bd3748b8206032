/* Processes in all kinds of trouble. Usage: life HOW. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void ready(void) { puts("ready"); fflush(stdout); }

/* storm N: N queued real-time signals, numbered, must arrive once each and in order; two kinds at the same time. */
enum { KINDS = 2 };
static int signals;
static volatile int next[KINDS];
static void arrived(int sig, siginfo_t *si, void *u)
{
	int kind = sig - SIGRTMIN;
	(void)u;
	if (si->si_value.sival_int != next[kind]++) _exit(110);
}
static void storm(void)
{
	struct sigaction sa = {.sa_sigaction = arrived, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigset_t both;
	pid_t self = getpid();
	sigemptyset(&both);
	for (int k = 0; k < KINDS; k++) sigaction(SIGRTMIN + k, &sa, 0), sigaddset(&both, SIGRTMIN + k);
	ready();
	if (!fork()) {
		for (int i = 0; i < signals; i++)
			for (int k = 0; k < KINDS; k++) {
				while (sigqueue(self, SIGRTMIN + k, (union sigval){.sival_int = i}) && errno == EAGAIN)
					usleep(10);
				if (i % 16 == 0) usleep(50);
			}
		_exit(0);
	}
	for (int i = 0; next[0] < signals || next[1] < signals; i++) {
		if (i % 3) sigprocmask(SIG_BLOCK, &both, 0);
		for (volatile int n = 0; n < 10000; n++) ;
		sigprocmask(SIG_UNBLOCK, &both, 0);
	}
	printf("%d %d\n", next[0], next[1]);
}

/* threads: four threads that make and join others all the time. */
static void *nothing(void *a) { return a; }
static void *make(void *a)
{
	for (;;) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++) if (pthread_create(t + i, 0, nothing, 0)) _exit(112);
		for (int i = 0; i < 4; i++) if (pthread_join(t[i], 0)) _exit(113);
	}
	return a;
}

static void *sleeper(void *a) { for (;;) pause(); return a; }
static void *spin(void *a) { for (;;) ; return a; }

/* executor replaces the program by itself, which goes on with n. */
static char again[20];
static void *executor(void *a)
{
	usleep(2000);
	execl("/proc/self/exe", "life", "threadexecs", again, (char *)0);
	return a;
}

/* A restartable sequence that says whether it was finished after the kernel had given it up. */
static long rseq_rounds;
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
static void restartable(void)
{
	struct rseq *r = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	if (!__rseq_size) return;
	for (;;) {
		long lost = 0;
		asm volatile(
		    ".pushsection __rseq_cs,\"aw\"; .balign 32\n"
		    "9: .long 0,0; .quad 1f, 2f-1f, 4f\n.popsection\n"
		    "lea 9b(%%rip),%%rax; mov %%rax,%[cs]\n"
		    "1: mov $20000,%%ecx\n5: dec %%ecx; jnz 5b\n"
		    "cmpq $0,%[cs]; sete %b[lost]\n"
		    "2: jmp 3f\n"
		    ".byte 0x0f,0xb9,0x3d; .long 0x53053053\n"
		    "4: jmp 3f\n3:\n"
		    : [lost] "+q"(lost), [cs] "+m"(r->rseq_cs) : : "rax", "rcx", "cc", "memory");
		if (lost) _exit(117);
		rseq_rounds++;
	}
}
#else
static void restartable(void) { for (;;) rseq_rounds++; }
#endif

/* stepped single-steps itself, and counts. */
static volatile long steps;
static void on_trap(int sig) { (void)sig; steps++; }
static void stepped(void)
{
	signal(SIGTRAP, on_trap);
	asm volatile("sub $128,%rsp; pushfq; orq $0x100,(%rsp); popfq; add $128,%rsp");
	for (;;) {
		long before = steps;
		asm volatile("nop; nop; nop");
		if (steps - before < 3) _exit(118);
	}
}

/* compat runs 32-bit code. */
static void compat(void)
{
	unsigned char *p = mmap((void *)0x10000000, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	p[0] = 0xeb, p[1] = 0xfe; /* 1: jmp 1b */
	asm volatile("pushq $0x23; pushq %0; lretq" : : "r"(p));
}

static void filter(int nr, unsigned action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof code / sizeof *code, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) _exit(114);
}
static volatile int sigsys;
static void onsigsys(int sig) { sigsys++; (void)sig; }

/* wait_for_quit spins until standard input ends. */
static void until_quit(void)
{
	char c;
	while (read(0, &c, 1) > 0) ;
}

/* deep touches the first thread's stack; deeper waits there. */
static void __attribute__((noinline)) deep(void)
{
	volatile char room[190 << 10];
	for (unsigned i = 0; i < sizeof room; i += 4096) room[i] = 1;
}
static void __attribute__((noinline)) deeper(void)
{
	volatile char room[150 << 10];
	for (unsigned i = 0; i < sizeof room; i++) room[i] = 7;
	ready();
	until_quit();
	for (unsigned i = 0; i < sizeof room; i++) if (room[i] != 7) _exit(119);
	puts("whole");
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *how = argv[1];
	alarm(600);
	signal(SIGCHLD, SIG_DFL);
	if (!strcmp(how, "storm")) {
		signals = atoi(argv[2]);
		storm();
	} else if (!strcmp(how, "threads")) {
		for (int i = 0; i < 4; i++) {
			pthread_t t;
			pthread_create(&t, 0, make, 0);
		}
		ready();
		until_quit();
	} else if (!strcmp(how, "inherits")) { /* a child that is traced by whoever traces this one */
		ready();
		int b = getchar();
		pid_t p = b == EOF ? -1 : syscall(SYS_clone, CLONE_PTRACE | SIGCHLD, 0, 0, 0, 0);
		if (!p) for (;;) pause();
		printf("%d\n", (int)p);
		fflush(stdout);
		until_quit();
	} else if (!strcmp(how, "leaderless")) { /* the first thread is gone, another one goes on */
		pthread_t t;
		pthread_create(&t, 0, spin, 0);
		ready();
		pthread_exit(0);
	} else if (!strcmp(how, "forks")) {
		for (long n = 0;; n++) {
			pid_t p = fork();
			int status;
			if (!p) _exit(7);
			if (n == 10) ready();
			if (p < 0 || waitpid(p, &status, 0) != p || status != 7 << 8) _exit(115);
		}
	} else if (!strcmp(how, "execs")) {
		char n[20];
		int i = argc > 2 ? atoi(argv[2]) : 0;
		if (i == 3) ready();
		sprintf(n, "%d", i + 1);
		execl("/proc/self/exe", "life", how, n, (char *)0);
		_exit(116);
	} else if (!strcmp(how, "threadexecs")) { /* one of many threads executes, while the others end */
		pthread_t t;
		int n = argc > 2 ? atoi(argv[2]) : 0;
		sprintf(again, "%d", n + 1);
		if (!n) ready();
		for (int i = 0; i < 32; i++) pthread_create(&t, 0, sleeper, 0);
		pthread_create(&t, 0, executor, 0);
		for (;;) pause();
	} else if (!strcmp(how, "leaderends")) { /* the first thread ends while others go on */
		pthread_t t;
		pthread_create(&t, 0, spin, 0);
		ready();
		usleep(3000);
		pthread_exit(0);
	} else if (!strcmp(how, "rseq")) {
		ready();
		restartable();
	} else if (!strcmp(how, "stepped")) {
		ready();
		stepped();
	} else if (!strcmp(how, "compat")) {
		ready();
		compat();
	} else if (!strcmp(how, "strict")) {
		ready();
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		until_quit();
		syscall(SYS_exit, 9);
	} else if (!strcmp(how, "nosigreturn")) {
		filter(SYS_rt_sigreturn, SECCOMP_RET_KILL_PROCESS);
		ready();
		until_quit();
		printf("0 0\n");
	} else if (!strcmp(how, "smallstack")) { /* one thread with a small stack, and a first one that may not grow any more */
		pthread_t t;
		pthread_attr_t a;
		struct rlimit now = {200 << 10, RLIM_INFINITY};
		pthread_attr_init(&a);
		pthread_attr_setstacksize(&a, 48 << 10);
		pthread_create(&t, &a, sleeper, 0);
		deep();
		setrlimit(RLIMIT_STACK, &now);
		deeper();
	} else if (!strcmp(how, "exits")) {
		ready();
		usleep(5000);
	} else if (!strcmp(how, "vfork")) {
		if (!vfork()) {
			ready();
			until_quit();
			_exit(0);
		}
		puts("back");
	} else if (!strcmp(how, "vforklater")) { /* when standard input ends; prints the pid of a child that has this memory */
		ready();
		until_quit();
		if (!vfork()) {
			dprintf(1, "%d\n", getpid());
			for (;;) pause();
		}
		puts("back");
	} else if (!strcmp(how, "vforkexec")) { /* prints the pid of a child that has this memory until standard input ends */
		ready();
		if (!vfork()) {
			dprintf(1, "%d\n", getpid());
			until_quit();
			execl("/proc/self/exe", "life", "executed", (char *)0);
			_exit(116);
		}
		for (;;) pause();
	} else if (!strcmp(how, "executed")) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		puts("executed");
		fflush(stdout);
		for (;;) pause();
	} else if (!strcmp(how, "stopped")) {
		ready();
		raise(SIGSTOP);
		puts("continued");
		fflush(stdout);
		until_quit();
	} else if (!strcmp(how, "errno") || !strcmp(how, "trap") || !strcmp(how, "kill")) {
		signal(SIGSYS, onsigsys);
		filter(SYS_getppid, !strcmp(how, "errno") ? SECCOMP_RET_ERRNO | EXDEV
			: !strcmp(how, "trap") ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS);
		ready();
		until_quit();
		printf("%d %d\n", sigsys, signal(SIGSYS, SIG_DFL) == onsigsys);
	} else if (!strcmp(how, "traced")) { /* prints the pid of a child that it traces */
		pid_t p = fork();
		if (!p) for (;;) pause();
		ptrace(PTRACE_SEIZE, p, 0, PTRACE_O_EXITKILL);
		ready();
		printf("%d\n", p);
		fflush(stdout);
		until_quit();
	} else if (!strcmp(how, "zombie")) { /* prints the pid of a child that has exited */
		pid_t p = fork();
		if (!p) _exit(0);
		usleep(20000);
		ready();
		printf("%d\n", p);
		fflush(stdout);
		until_quit();
	}
	return 0;
}
