// A process to be patched under limits that its arguments name. A second thread computes, so that a signal to the process finds
// somebody who runs. It answers each line with what the function returns, and with each signal that came.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int first(void);

static volatile int caught;
static void on_signal(int s) { caught = s; }
static void *compute(void *p) { for (;;); return p; }

static void limit(int which, rlim_t n)
{
	struct rlimit r = {n, n};
	if (setrlimit(which, &r))
		exit(3);
}

// xom makes the code of the library execute-only.
static void xom(void)
{
	char line[4096], perms[8];
	unsigned long start, end;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof line, maps))
		if (strstr(line, "libtarget") && sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3 && strchr(perms, 'x') &&
			mprotect((void *)start, end - start, PROT_EXEC))
			exit(4);
	if (maps)
		fclose(maps);
}

// noexec says for its new PID namespace what memory files may be.
static void noexec(const char *value)
{
	int status;
	if (unshare(CLONE_NEWPID))
		exit(5);
	pid_t child = fork();
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (child) {
		waitpid(child, &status, 0);
		exit(0);
	}
	FILE *f = fopen("/proc/sys/vm/memfd_noexec", "w");
	if (!f || fputs(value, f) < 0 || fclose(f))
		exit(6);
}

// install installs a filter for all threads.
static void install(struct sock_fprog prog)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog))
		exit(12);
}

// sandbox kills for flags of mmap that Chromium does not know, MAP_FIXED_NOREPLACE among them; or for mmap at all.
static void sandbox(int any)
{
	unsigned known = MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE | MAP_FIXED | MAP_DENYWRITE | MAP_LOCKED;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, any ? ~0u : ~known, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	install((struct sock_fprog){sizeof code / sizeof *code, code});
}

// execmem answers EACCES where SELinux does to a process without execmem: to anonymous memory that can be executed; and to
// memory files, which it may not execute either.
static void execmem(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 13),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	install((struct sock_fprog){sizeof code / sizeof *code, code});
}

int main(int argc, char **argv)
{
	char line[64];
	pthread_t thread;
	setvbuf(stdout, NULL, _IONBF, 0);
	first();
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		long n = value ? atol(value + 1) : 0;
		if (!strncmp(argv[i], "noexec=", 7))
			noexec(value + 1);
		else if (!strncmp(argv[i], "fsize=", 6))
			limit(RLIMIT_FSIZE, n);
		else if (!strncmp(argv[i], "data=", 5))
			limit(RLIMIT_DATA, n);
		else if (!strncmp(argv[i], "stack=", 6))
			limit(RLIMIT_STACK, n);
		else if (!strncmp(argv[i], "nofile=", 7))
			limit(RLIMIT_NOFILE, n);
		else if (!strncmp(argv[i], "memlock=", 8)) {
			// As a user: root may lock what it likes.
			if (mlockall(MCL_CURRENT | MCL_FUTURE))
				exit(7);
			limit(RLIMIT_MEMLOCK, n);
			if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
				exit(8);
			prctl(PR_SET_DUMPABLE, 1);
		} else if (!strcmp(argv[i], "mdwe")) {
			if (prctl(65, 1, 0, 0, 0))
				exit(9);
		} else if (!strcmp(argv[i], "handler"))
			signal(SIGXFSZ, on_signal);
		else if (!strcmp(argv[i], "busy"))
			pthread_create(&thread, NULL, compute, NULL);
		else if (!strcmp(argv[i], "chromium"))
			sandbox(0);
		else if (!strcmp(argv[i], "nomap"))
			sandbox(1);
		else if (!strcmp(argv[i], "execmem"))
			execmem();
		else if (!strcmp(argv[i], "xom"))
			xom();
		else
			exit(10);
	}
	char self[32] = "";
	if (readlink("/proc/self", self, sizeof self - 1) < 0)
		exit(11);
	printf("%s\n", self); // its number out there, if it has another one in here
	while (fgets(line, sizeof line, stdin))
		printf("%d%s\n", first(), caught ? ", and a signal came" : "");
	return 0;
}
