// A process for the tests to look at. It does what its first argument says, prints a line when it is ready, and ends when
// its standard input does, so that none outlives its test.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static void ready(long word)
{
	printf("%ld\n", word);
	fflush(stdout);
}

static int ended(int timeout)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	return poll(&p, 1, timeout) > 0;
}

static void *wait_for_end(void *unused)
{
	char c;
	while (read(0, &c, 1) > 0) { }
	_exit(0);
	return unused;
}

static void *sleep_thread(void *unused) { for (;;) pause(); return unused; }
static void *short_thread(void *unused) { return unused; }

static void threads(int n)
{
	pthread_t t;
	while (n-- > 0)
		if (pthread_create(&t, NULL, sleep_thread, NULL)) die("pthread_create");
	ready(0);
}

static void churn(void)
{
	ready(0);
	while (!ended(0)) {
		pthread_t t[8];
		for (int i = 0; i < 8; i++) pthread_create(&t[i], NULL, short_thread, NULL);
		for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
	}
}

static void exec_loop(char **argv)
{
	if (!argv[2]) ready(0);
	usleep(500);
	if (ended(0)) _exit(0);
	execl("/proc/self/exe", argv[0], "exec", "again", NULL);
	die("exec");
}

static void fork_loop(void)
{
	ready(0);
	while (!ended(0)) {
		pid_t pid = fork();
		if (pid == 0) _exit(0);
		waitpid(pid, NULL, 0);
	}
}

static pid_t child(int traced)
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (traced && ptrace(PTRACE_TRACEME, 0, 0, 0) == 0) raise(SIGSTOP);
		_exit(0);
	}
	return pid;
}

static void seccomp(void)
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = { 1, all };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) die("seccomp");
}

static char *map(const char *path, int prot, int flags)
{
	struct stat st;
	int fd = open(path, O_RDWR);
	if (fd < 0 || fstat(fd, &st)) die(path);
	char *p = mmap(NULL, st.st_size, prot, flags, fd, 0);
	if (p == MAP_FAILED) die("mmap");
	close(fd);
	return p;
}

// longnames maps files of long names in turns, so that no mapping has the name of its neighbour.
static void longnames(const char *directory, long n)
{
	static char name[256];
	int fd[16];
	if (chdir(directory)) die("chdir");
	memset(name, 'n', 250);
	for (int i = 0; i < 15; i++) if (mkdir(name, 0755) || chdir(name)) die("mkdir");
	for (int i = 0; i < 16; i++) {
		name[249] = 'a' + i;
		fd[i] = open(name, O_CREAT | O_RDWR, 0644);
		if (fd[i] < 0 || ftruncate(fd[i], 4096)) die(name);
	}
	for (long i = 0; i < n; i++) mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd[i % 16], 0);
	ready(n);
}

// many maps one page of a file again and again. Protections that differ keep the mappings from becoming one.
static void many(const char *path, long n)
{
	int fd = open(path, O_RDONLY);
	long made = 0;
	for (long i = 0; i < n; i++)
		made += mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED;
	ready(made);
}

// silent maps code whose pages never come. Where there is no userfaultfd, the word is the negative
// number of the error.
static void silent(const char *path)
{
	struct uffdio_api api = { .api = UFFD_API };
	int mem = memfd_create("silent", 0), fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0) {
		ready(-errno);
		return;
	}
	if (mem < 0 || ftruncate(mem, 4096) || ioctl(fd, UFFDIO_API, &api)) die("userfaultfd");
	char *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, mem, 0);
	struct uffdio_register r = { .range = { (uintptr_t)p, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	if (ioctl(fd, UFFDIO_REGISTER, &r)) die(path);
	ready((long)p);
}

#include "silentfs.h"

// hanging maps code from a file system that does not answer, and is mounted nowhere. Where there is no FUSE, the word is
// the negative number of the error.
static void hanging(void)
{
	pthread_t t;
	int fd, root = silent_fs(&fd);
	if (root < 0) {
		ready(root);
		exit(0);
	}
	pthread_create(&t, NULL, serve, (void *)(long)fd);
	int file = openat(root, "lib.so", O_RDONLY);
	if (file < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED) die("lib.so");
	close(file);
	ready(0);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "idle";
	pthread_t t;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!strcmp(mode, "exec")) exec_loop(argv);
	if (!strcmp(mode, "churn")) churn();
	else if (!strcmp(mode, "fork")) fork_loop();
	else if (!strcmp(mode, "threads")) threads(atoi(argv[2]));
	else if (!strcmp(mode, "child")) { // its pid is the word; wait until it is a zombie, or stopped
		pid_t pid = child(argv[2] != NULL);
		siginfo_t si;
		waitid(P_PID, pid, &si, WEXITED | WSTOPPED | WNOWAIT);
		ready(pid);
	} else if (!strcmp(mode, "undumpable")) { prctl(PR_SET_DUMPABLE, 0); ready(0); }
	else if (!strcmp(mode, "seccomp")) { seccomp(); ready(0); }
	else if (!strcmp(mode, "seccompone")) { pthread_t t; pthread_create(&t, NULL, sleep_thread, NULL); seccomp(); ready(0); }
	else if (!strcmp(mode, "stop")) {
		pthread_create(&t, NULL, sleep_thread, NULL);
		ready(0);
		raise(SIGSTOP);
	} else if (!strcmp(mode, "leader")) {
		pthread_create(&t, NULL, wait_for_end, NULL);
		ready(0);
		pthread_exit(NULL);
	} else if (!strcmp(mode, "chroot")) { if (chroot(argv[2])) die("chroot"); ready(0); }
	else if (!strcmp(mode, "map")) { // FILE...: mapped as a whole, as code
		for (int i = 2; i < argc; i++) map(argv[i], PROT_READ | PROT_EXEC, MAP_PRIVATE);
		ready(0);
	} else if (!strcmp(mode, "view")) { // the same, but only to be read
		ready((long)map(argv[2], PROT_READ, MAP_PRIVATE));
	} else if (!strcmp(mode, "hole")) { // PROT_NONE in its middle
		char *p = map(argv[2], PROT_READ | PROT_EXEC, MAP_PRIVATE);
		mprotect(p, 4096, PROT_NONE);
		ready((long)p);
	} else if (!strcmp(mode, "cut")) { // the file below the mapping is cut off
		char *p = map(argv[2], PROT_READ | PROT_EXEC, MAP_PRIVATE);
		if (truncate(argv[2], 0)) die("truncate");
		ready((long)p);
	} else if (!strcmp(mode, "longnames")) longnames(argv[2], atol(argv[3]));
	else if (!strcmp(mode, "many")) many(argv[2], atol(argv[3]));
	else if (!strcmp(mode, "silent")) silent("userfaultfd register");
	else if (!strcmp(mode, "hanging")) hanging();
	else if (!strcmp(mode, "dlopen")) { // LIBRARY SYMBOL: its address is the word
		void *lib = dlopen(argv[2], RTLD_NOW);
		void *at = lib ? dlsym(lib, argv[3]) : NULL;
		if (!at) { fprintf(stderr, "%s\n", dlerror()); _exit(1); }
		ready((long)at);
	} else if (!strcmp(mode, "patch")) { // LIBRARY SYMBOL HEX: writes the bytes from 14 before the symbol on
		void *lib = dlopen(argv[2], RTLD_NOW);
		char *at = lib ? dlsym(lib, argv[3]) : NULL;
		if (!at) { fprintf(stderr, "%s\n", dlerror()); _exit(1); }
		char *page = (char *)((uintptr_t)(at - 14) & -4096L);
		if (mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC)) die("mprotect");
		for (int i = 0; argv[4][2 * i]; i++) {
			unsigned byte;
			sscanf(argv[4] + 2 * i, "%2x", &byte);
			at[i - 14] = byte;
		}
		if (mprotect(page, 8192, PROT_READ | PROT_EXEC)) die("mprotect");
		ready((long)at);
	} else ready(0);
	wait_for_end(NULL);
	return 0;
}
