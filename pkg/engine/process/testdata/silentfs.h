// A file system with one file, by any name, whose content never comes: whoever reads it, or touches
// memory that it is mapped to, waits. It is included after die().
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void reply(int fd, uint64_t unique, int error, void *data, size_t size)
{
	struct fuse_out_header h = { sizeof h + size, error, unique };
	struct iovec v[] = { { &h, sizeof h }, { data, size } };
	if (writev(fd, v, 2) < 0) perror("fuse reply");
}

// serve answers for the file system, but for what the file holds.
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

// silent_fs makes the file system, which is mounted nowhere, and returns its root. A thread has to
// run serve with the device. Where there is no FUSE, it returns the negative number of the error.
static int silent_fs(int *device)
{
	enum { SET_STRING = 1, CREATE = 6 }; // of fsconfig, which older headers do not have
	char number[20];
	const char *options[][2] = {
		{ "fd", number }, { "rootmode", "40000" }, { "user_id", "0" }, { "group_id", "0" } };
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int fs = fd < 0 ? -1 : syscall(SYS_fsopen, "fuse", 1);
	if (fs < 0) return -errno;
	snprintf(number, sizeof number, "%d", fd);
	for (int i = 0; i < 4; i++)
		if (syscall(SYS_fsconfig, fs, SET_STRING, options[i][0], options[i][1], 0)) die(options[i][0]);
	int root = syscall(SYS_fsconfig, fs, CREATE, NULL, NULL, 0) ? -1 : syscall(SYS_fsmount, fs, 1, 0);
	if (root < 0) die("fsmount");
	*device = fd;
	return root;
}
