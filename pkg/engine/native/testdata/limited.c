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

// sandbox does something for flags of mmap that Chromium does not know, MAP_FIXED_NOREPLACE among them; or for mmap at all.
static void sandbox(int any, unsigned action)
{
	unsigned known = MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE | MAP_FIXED | MAP_DENYWRITE | MAP_LOCKED;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, any ? ~0u : ~known, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	install((struct sock_fprog){sizeof code / sizeof *code, code});
}

static unsigned action(const char *name)
{
	static const struct { const char *name; unsigned action; } list[] = {
		{"kill", SECCOMP_RET_KILL_PROCESS}, {"thread", SECCOMP_RET_KILL_THREAD}, {"trap", SECCOMP_RET_TRAP},
		{"errno", SECCOMP_RET_ERRNO | 1}, {"notify", SECCOMP_RET_USER_NOTIF}, {"trace", SECCOMP_RET_TRACE},
		{"log", SECCOMP_RET_LOG},
	};
	for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
		if (!strcmp(name, list[i].name))
			return list[i].action;
	exit(13);
}

// fill maps pages that the kernel does not join until it maps no more, and gives some of them back.
static void *mapped[1 << 17];
static int mappings;
static void drain(int n)
{
	while (mappings > 0 && n--)
		munmap(mapped[--mappings], 4096);
}
static void fill(int left)
{
	for (; mappings < 1 << 17; mappings++)
		if ((mapped[mappings] = mmap(NULL, 4096, mappings % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == MAP_FAILED)
			break;
	if (mappings == 1 << 17)
		exit(14);
	drain(left);
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
	static char input[4096];
	setvbuf(stdout, NULL, _IONBF, 0);
	setvbuf(stdin, input, _IOFBF, sizeof input); // nothing is allocated from here on
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
		} else if (!strcmp(argv[i], "user")) {
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
			sandbox(0, SECCOMP_RET_KILL_PROCESS);
		else if (!strncmp(argv[i], "mmap=", 5))
			sandbox(1, action(value + 1));
		else if (!strncmp(argv[i], "as=", 3))
			limit(RLIMIT_AS, n);
		else if (!strncmp(argv[i], "maps=", 5))
			fill(n);
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
	while (fgets(line, sizeof line, stdin)) {
		if (!strncmp(line, "fill", 4))
			fill(0);
		if (!strncmp(line, "drain", 5))
			drain(1 << 17);
		printf("%d%s\n", first(), caught ? ", and a signal came" : "");
	}
	return 0;
}
