// A process that does not come to the end of an exec: what the kernel reads for it by io_submit(2) is in a file
// of a file system that does not answer, and its former memory goes only after that. Meanwhile the kernel holds
// the lock that whoever looks into the process waits for: exec_update_lock. It is a child of this program, which
// serves the file system, prints the child's PID when that hangs, and lets it go by ending. Its argument is the user
// whom the child belongs to. Where there is no FUSE, the number is that of the error, negative.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static void say(long number)
{
	printf("%ld\n", number);
	fflush(stdout);
}

#include "../process/testdata/silentfs.h"

static void hang(int device, int root, int begun, char **argv)
{
	static char room[4096] __attribute__((aligned(4096)));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(device); // only the server has it: its end is that of the connection
	int file = openat(root, "file", O_RDONLY | O_DIRECT | O_CLOEXEC);
	aio_context_t ctx = 0;
	struct iocb read = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = file, .aio_buf = (uintptr_t)room, .aio_nbytes = sizeof room };
	struct iocb *list[] = { &read };
	if (argv[1] && (setresuid(atoi(argv[1]), atoi(argv[1]), atoi(argv[1])) || prctl(PR_SET_DUMPABLE, 1))) die("setresuid");
	if (file < 0 || syscall(SYS_io_setup, 1, &ctx) || syscall(SYS_io_submit, ctx, 1, list) != 1) die("io_submit");
	if (write(begun, "", 1) != 1) die("pipe");
	execl("/proc/self/exe", argv[0], "end", NULL);
	die("exec");
}

int main(int argc, char **argv)
{
	char c;
	pthread_t t;
	if (argc > 1 && !strcmp(argv[1], "end")) return 0; // the exec has come to its end
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(30); // whatever happens: others on the machine wait for it, too
	int fd, root = silent_fs(&fd);
	if (root < 0) {
		say(root);
		return 0;
	}
	int begun[2];
	if (pipe2(begun, O_CLOEXEC)) die("pipe");
	pid_t pid = fork();
	if (pid == 0) hang(fd, root, begun[1], argv);
	pthread_create(&t, NULL, serve, (void *)(long)fd);
	close(begun[1]);
	if (read(begun[0], &c, 1) != 1) die("the child");
	usleep(50000); // nothing tells that it is there without waiting for it
	say(pid);
	while (read(0, &c, 1) > 0) { }
	return 0;
}
