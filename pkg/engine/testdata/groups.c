/* groups N PROGRAM [ARG]...: a program with N supplementary groups of ten digits, and a filter that kills on memfd_create. */
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
  int n = argc > 2 ? atoi(argv[1]) : 0;
  gid_t *groups = calloc(n + 1, sizeof *groups);
  for (int i = 0; i < n; i++)
    groups[i] = 4000000000u + i;
  if (setgroups(n, groups))
    return 2;
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { 4, filter };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
    return 3;
  execv(argv[2], argv + 2);
  return 4;
}
