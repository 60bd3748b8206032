/* Opens a FIFO by io_uring, which waits until somebody else has opened it: uring FIFO [sqpoll]. Then it prints the result. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct io_uring_params p = {0};
	if (argc > 2) p.flags = IORING_SETUP_SQPOLL, p.sq_thread_idle = 100;
	int fd = syscall(SYS_io_uring_setup, 8, &p);
	if (fd < 0) {
		puts("none");
		return 77;
	}
	char *sq = mmap(0, p.sq_off.array + p.sq_entries * sizeof(int), 3, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), 3, MAP_SHARED, fd, IORING_OFF_CQ_RING);
	struct io_uring_sqe *e = mmap(0, p.sq_entries * sizeof *e, 3, MAP_SHARED, fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || e == MAP_FAILED) return 1;
	*e = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (long)argv[1], .open_flags = O_RDONLY,
		.flags = IOSQE_ASYNC};
	((int *)(sq + p.sq_off.array))[0] = 0;
	__atomic_store_n((int *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, fd, 1, 0, argc > 2 ? IORING_ENTER_SQ_WAKEUP : 0, 0, 0) != 1) return 2;
	puts("ready");
	fflush(stdout);
	while (__atomic_load_n((int *)(cq + p.cq_off.tail), __ATOMIC_ACQUIRE) == 0) usleep(1000);
	int res = ((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res;
	printf("%d\n", res < 0 ? res : 0);
	return 0;
}
