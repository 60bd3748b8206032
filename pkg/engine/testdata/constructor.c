/* What becomes of a process before its program begins: preloaded, by the variable ZOO.
     allow   a filter of system calls that allows all
     deny    one that refuses to map memory
     left    memory as an engine leaves it that is killed before it has filled it */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void filter(unsigned nr, unsigned other)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof f / sizeof f[0], f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p)) _exit(77);
}

__attribute__((constructor)) static void begin(void)
{
	const char *what = getenv("ZOO");
	if (!what) return;
	if (!strcmp(what, "allow")) filter(-1, -1);
	if (!strcmp(what, "deny")) filter(SYS_mmap, SYS_memfd_create);
	if (!strcmp(what, "left"))
		for (int i = 0; i < 3; i++) {
			int fd = memfd_create("lpbuild:left", MFD_CLOEXEC);
			if (ftruncate(fd, 4096 << i) || mmap(0, 4096 << i, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) _exit(77);
			close(fd);
		}
}
