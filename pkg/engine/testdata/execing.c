// A process that does not come to the end of an exec: what the kernel reads for it by io_submit(2) is in a file
// of a file system that does not answer, and its former memory goes only after that. Meanwhile the kernel holds
// the lock that whoever looks into the process waits for: exec_update_lock. It is a child of this program, which
// serves the file system, prints the child's PID when that hangs, and lets it go by ending. Its argument is the user
// whom the child belongs to. Where there is no FUSE, the number is that of the error, negative.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fuse.h>
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

static void reply(int fd, uint64_t unique, int error, void *data, size_t size)
{
	struct fuse_out_header h = { sizeof h + size, error, unique };
	struct iovec v[] = { { &h, sizeof h }, { data, size } };
	if (writev(fd, v, 2) < 0) perror("fuse reply");
}

// serve is a file system with one file that is never read.
static void *serve(void *arg)
{
	static char request[1 << 17];
	int fd = (long)arg;
	while (read(fd, request, sizeof request) > 0) {
		struct fuse_in_header *h = (void *)request;
		struct fuse_attr dir = { .ino = 1, .mode = S_IFDIR | 0755, .nlink = 2 };
		struct fuse_attr file = { .ino = 2, .mode = S_IFREG | 0755, .nlink = 1, .size = 4096 };
		struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
			.max_write = 4096, .flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO };
		struct fuse_entry_out entry = { .nodeid = 2, .attr = file };
		struct fuse_attr_out attr = { .attr = h->nodeid == 1 ? dir : file };
		struct fuse_open_out opened = { .fh = 1 };
		switch (h->opcode) {
		case FUSE_INIT: reply(fd, h->unique, 0, &init, sizeof init); break;
		case FUSE_LOOKUP: reply(fd, h->unique, 0, &entry, sizeof entry); break;
		case FUSE_GETATTR: reply(fd, h->unique, 0, &attr, sizeof attr); break;
		case FUSE_OPEN: reply(fd, h->unique, 0, &opened, sizeof opened); break;
		case FUSE_READ: break;
		default: reply(fd, h->unique, -ENOSYS, NULL, 0);
		}
	}
	return NULL;
}

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
	enum { SET_STRING = 1, CREATE = 6 }; // of fsconfig, which older headers do not have
	char number[32], c;
	const char *options[][2] = { { "fd", number }, { "rootmode", "40000" }, { "user_id", "0" }, { "group_id", "0" } };
	pthread_t t;
	if (argc > 1 && !strcmp(argv[1], "end")) return 0; // the exec has come to its end
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(30); // whatever happens: others on the machine wait for it, too
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), fs = fd < 0 ? -1 : syscall(SYS_fsopen, "fuse", 1);
	if (fs < 0) {
		say(-errno);
		return 0;
	}
	snprintf(number, sizeof number, "%d", fd);
	for (int i = 0; i < 4; i++)
		if (syscall(SYS_fsconfig, fs, SET_STRING, options[i][0], options[i][1], 0)) die(options[i][0]);
	int root = syscall(SYS_fsconfig, fs, CREATE, NULL, NULL, 0) ? -1 : syscall(SYS_fsmount, fs, 1, 0);
	if (root < 0) die("fsmount");
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
