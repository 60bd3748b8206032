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
#include <sys/prctl.h>
#include <sys/ptrace.h>
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

static void *spin(void *a) { for (;;) ; return a; }

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

int main(int argc, char **argv)
{
	const char *how = argv[1];
	alarm(60);
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
	} else if (!strcmp(how, "exits")) {
		ready();
		usleep(5000);
	} else if (!strcmp(how, "vfork")) {
		ready();
		if (!vfork()) {
			usleep(700 * 1000);
			_exit(0);
		}
		puts("back");
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
