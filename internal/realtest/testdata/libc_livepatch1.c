/*
 * Replacements of functions of the stock libc that servers call all the time. Each does what the original does, and counts
 * its calls where the tests find them: behind the mark, in the order of the description.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct {
	char mark[16];
	unsigned long calls[11];
} realtest = { "realtest-counts" };

#define COUNT(n) __atomic_fetch_add(&realtest.calls[n], 1, __ATOMIC_RELAXED)

void *malloc_lp(size_t size)
{
	COUNT(0);
	return calloc(1, size); /* which does not call malloc */
}

ssize_t read_lp(int fd, void *buf, size_t n)
{
	COUNT(1);
	return syscall(SYS_read, fd, buf, n);
}

ssize_t write_lp(int fd, const void *buf, size_t n)
{
	COUNT(2);
	return syscall(SYS_write, fd, buf, n);
}

ssize_t writev_lp(int fd, const struct iovec *list, int n)
{
	COUNT(3);
	return syscall(SYS_writev, fd, list, n);
}

ssize_t recv_lp(int fd, void *buf, size_t n, int flags)
{
	COUNT(4);
	return syscall(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
}

ssize_t send_lp(int fd, const void *buf, size_t n, int flags)
{
	COUNT(5);
	return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

int epoll_wait_lp(int fd, struct epoll_event *events, int n, int timeout)
{
	COUNT(6);
	return syscall(SYS_epoll_wait, fd, events, n, timeout);
}

int close_lp(int fd)
{
	COUNT(7);
	return syscall(SYS_close, fd);
}

ssize_t pread64_lp(int fd, void *buf, size_t n, off64_t off)
{
	COUNT(8);
	return syscall(SYS_pread64, fd, buf, n, off);
}

ssize_t pwrite64_lp(int fd, const void *buf, size_t n, off64_t off)
{
	COUNT(9);
	return syscall(SYS_pwrite64, fd, buf, n, off);
}

int epoll_pwait_lp(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set)
{
	COUNT(10);
	return syscall(SYS_epoll_pwait, fd, events, n, timeout, set, 8);
}
