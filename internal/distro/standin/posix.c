/* The rest of libc.so.6: what names it, errno, and the system's interface.  */
#include "standin.h"

/* As long for every build, so that it changes the build-id and no address.  */
static const char banner[128] __attribute__ ((used)) = "GNU C Library stand-in " BANNER;
static const char version[] = "2." STR (LIBC_MINOR);

const char *
gnu_get_libc_version (void)
{
  return version;
}

const char *
gnu_get_libc_release (void)
{
  return banner;
}

__thread int __libc_errno __attribute__ ((tls_model ("initial-exec")));
extern __thread int errno __attribute__ ((alias ("__libc_errno"), tls_model ("initial-exec")));

int *
__errno_location (void)
{
  return &__libc_errno;
}

char **__environ;
ALIAS (__environ, environ)

long
write (int fd, const void *data, size_t n)
{
#if defined __x86_64__
  long result;
  __asm__ volatile ("syscall" : "=a" (result) : "0" (1L), "D" (fd), "S" (data), "d" (n) : "rcx", "r11", "memory");
  return result;
#else
  return data == NULL ? fd : unsupported (n);
#endif
}

/* Written in assembly in the real one, and therefore without NOPs even where every other function has them.  */
__attribute__ ((patchable_function_entry (0, 0))) long
getcontext (void)
{
  return unsupported (10);
}

/* Where CVE-2015-7547 and others were: static, three calls below the public name.  */
HIDDEN int
gaih_inet (const char *name, int port)
{
  return name[port & 1] == 'x' ? (int) unsupported (port) : port + (VARIANT);
}

int
getaddrinfo (const char *name, const char *service, const void *hints, void **result)
{
  *result = NULL;
  return hints == NULL ? gaih_inet (name, service[0]) : -1;
}

__attribute__ ((noreturn)) void
abort (void)
{
  for (;;)
    __builtin_trap ();
}

ALIAS (abort, __stack_chk_fail)
ALIAS (abort, __chk_fail)
ALIAS (abort, __fortify_fail)

STUB_NEW_IN_2_34 (__libc_start_main)
STUB (__cxa_atexit)
STUB (__cxa_finalize)
STUB (__assert_fail)
STUB (__ctype_b_loc)
STUB (__xstat)
STUB (_exit)
STUB (access)
STUB (bsearch)
STUB (clock_gettime)
STUB (close)
STUB (dl_iterate_phdr)
STUB (execve)
STUB (exit)
STUB (fcntl)
STUB (fork)
STUB (freeaddrinfo)
STUB (getenv)
STUB (geteuid)
STUB (getpid)
STUB (getppid)
STUB (gettimeofday)
STUB (getuid)
STUB (iconv)
STUB (iconv_close)
STUB (iconv_open)
STUB (ioctl)
STUB (kill)
STUB (localtime_r)
STUB (lseek)
STUB (mmap)
STUB (mprotect)
STUB (munmap)
STUB (nanosleep)
STUB (open)
STUB (open64)
STUB (poll)
STUB (qsort)
STUB (raise)
STUB (read)
STUB (recv)
STUB (secure_getenv)
STUB (select)
STUB (send)
STUB (setenv)
STUB (setlocale)
STUB (sigaction)
STUB (sigemptyset)
STUB (sigprocmask)
STUB (sleep)
STUB (socket)
STUB (syscall)
STUB (sysconf)
STUB (time)
STUB (unlink)
STUB (usleep)
STUB (waitpid)
STUB (getrandom)
STUB (pthread_self)
#if LIBC_MINOR >= 33
STUB (stat)
STUB (fstat)
STUB (lstat)
#endif
