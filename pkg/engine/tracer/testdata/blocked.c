/* One thread that blocks in one system call and says how that ended. Usage: blocked HOW MILLISECONDS. It says ready, blocks, and prints
   the return value, errno, and the time it took in milliseconds. A second process ends the wait where there is no timeout. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int WAIT; /* milliseconds until a wait ends */

static volatile int handled;
static void handler(int sig) { handled++; (void)sig; }
static long ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* later runs the rest of the caller in a child after WAIT. */
static int later(void)
{
	if (fork()) return 0;
	usleep(WAIT * 1000);
	return 1;
}

/* old makes a system call as programs of 32 bits do, with their numbers; what its arguments point to must lie low. */
static inline __attribute__((always_inline)) long old(long nr, long b, long c, long d)
{
	long ret;
	asm volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(b), "c"(c), "d"(d), "S"(0L), "D"(0L) : "memory");
	errno = ret < 0 ? -ret : 0;
	return ret < 0 ? -1 : ret;
}

int main(int argc, char **argv)
{
	const char *how = argv[1];
	WAIT = atoi(argv[2]);
	struct timespec t;
	int p[2], ret = -2, parent = getpid();
	int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigset_t none, usr;
	long start = 0;
	struct sigaction sa = {.sa_handler = handler};

	t.tv_sec = WAIT / 1000, t.tv_nsec = WAIT % 1000 * 1000000L;
	alarm(600);
	sigemptyset(&none);
	sigemptyset(&usr);
	sigaddset(&usr, SIGUSR1);
	if (pipe(p)) return 1;
#define BLOCK(call) do { puts("ready"); fflush(stdout); start = ms(); errno = 0; ret = (call); } while (0)
	if (!strcmp(how, "read")) {
		char c;
		if (later()) return write(p[1], "x", 1), 0;
		BLOCK(read(p[0], &c, 1));
	} else if (!strcmp(how, "poll")) {
		struct pollfd f = {p[0], POLLIN};
		BLOCK(poll(&f, 1, WAIT));
	} else if (!strcmp(how, "ppoll")) {
		struct pollfd f = {p[0], POLLIN};
		BLOCK(ppoll(&f, 1, &t, &none));
	} else if (!strcmp(how, "select")) {
		struct timeval tv = {WAIT / 1000, WAIT % 1000 * 1000};
		BLOCK(select(0, 0, 0, 0, &tv));
	} else if (!strcmp(how, "nanosleep")) {
		BLOCK(nanosleep(&t, 0));
	} else if (!strncmp(how, "old-", 4)) {
		int *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		low[0] = WAIT / 1000, low[1] = WAIT % 1000 * 1000000; /* a struct timespec, and behind it a struct pollfd */
		low[2] = p[0], low[3] = POLLIN;
		if (old(20, 0, 0, 0) != parent) return 5; /* getpid */
		if (!strcmp(how, "old-read")) {
			if (later()) return write(p[1], "x", 1), 0;
			BLOCK(old(3, p[0], (long)(low + 4), 1));
			if (*(char *)(low + 4) != 'x') return 4;
		} else if (!strcmp(how, "old-nanosleep")) {
			BLOCK(old(162, (long)low, 0, 0));
		} else if (!strcmp(how, "old-poll")) {
			BLOCK(old(168, (long)(low + 2), 1, WAIT));
		} else if (!strcmp(how, "old-clock_nanosleep")) {
			BLOCK(old(267, CLOCK_MONOTONIC, 0, (long)low));
		}
	} else if (!strcmp(how, "clock_nanosleep")) {
		BLOCK(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, 0));
	} else if (!strcmp(how, "futex")) {
		if (later()) return *shared = 1, syscall(SYS_futex, shared, FUTEX_WAKE, 1), 0;
		BLOCK(syscall(SYS_futex, shared, FUTEX_WAIT, 0, 0));
	} else if (!strcmp(how, "futex-timeout")) {
		BLOCK(syscall(SYS_futex, shared, FUTEX_WAIT, 0, &t));
	} else if (!strcmp(how, "sigsuspend")) {
		sigaction(SIGUSR1, &sa, 0);
		sigprocmask(SIG_BLOCK, &usr, 0);
		if (later()) return kill(parent, SIGUSR1), 0;
		BLOCK(sigsuspend(&none));
		if (handled != 1) return 2;
		sigprocmask(SIG_BLOCK, 0, &none);
		if (!sigismember(&none, SIGUSR1)) return 3;
	} else if (!strcmp(how, "pause")) {
		sigaction(SIGUSR1, &sa, 0);
		if (later()) return kill(parent, SIGUSR1), 0;
		BLOCK(pause());
	} else if (!strcmp(how, "sigtimedwait")) {
		sigprocmask(SIG_BLOCK, &usr, 0);
		if (later()) return kill(parent, SIGUSR1), 0;
		BLOCK(sigwaitinfo(&usr, 0));
	} else if (!strcmp(how, "sigtimedwait-timeout")) {
		sigprocmask(SIG_BLOCK, &usr, 0);
		BLOCK(sigtimedwait(&usr, 0, &t));
	} else if (!strcmp(how, "epoll") || !strcmp(how, "epoll-handler")) {
		struct epoll_event e = {.events = EPOLLIN};
		int ep = epoll_create1(0);
		sa.sa_flags = SA_RESTART; /* epoll_wait ends with EINTR all the same */
		sigaction(SIGUSR1, &sa, 0);
		epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e);
		if (later()) return strcmp(how, "epoll") ? kill(parent, SIGUSR1) : write(p[1], "x", 1), 0;
		BLOCK(epoll_wait(ep, &e, 1, -1));
	} else if (!strcmp(how, "semop")) {
		int sem = semget(IPC_PRIVATE, 1, 0600);
		struct sembuf down = {0, -1, 0}, up = {0, 1, 0};
		if (later()) return semop(sem, &up, 1), 0;
		BLOCK(semop(sem, &down, 1));
		semctl(sem, 0, IPC_RMID);
	} else if (!strcmp(how, "accept") || !strcmp(how, "accept-timeout")) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		struct timeval tv = {5, 0};
		socklen_t len = sizeof a;
		int s = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(s, (void *)&a, sizeof a) || listen(s, 1) || getsockname(s, (void *)&a, &len)) return 1;
		if (strcmp(how, "accept")) setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		if (later()) return connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&a, sizeof a), 0;
		BLOCK(accept(s, 0, 0) >= 0);
	} else if (!strcmp(how, "read-timeout")) {
		struct timeval tv = {5, 0};
		char c;
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, p)) return 1;
		setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		if (later()) return write(p[1], "x", 1), 0;
		BLOCK(read(p[0], &c, 1));
	} else if (!strcmp(how, "wait")) {
		if (later()) return 0;
		BLOCK(waitpid(-1, 0, 0) > 0);
	}
	printf("%d %d %ld\n", ret, errno, ms() - start);
	return 0;
}
