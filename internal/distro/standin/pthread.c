/* Threads: libpthread.so.0 up to 2.33, part of libc.so.6 since.  */
#include "standin.h"

static int __nptl_nthreads __attribute__ ((used)) = 1;
static char __default_pthread_attr[8 * (VARIANT) + 8] __attribute__ ((used));

HIDDEN int
__pthread_mutex_lock_full (int *mutex)
{
  *mutex += __nptl_nthreads;
  return 0;
}

int
pthread_mutex_lock (int *mutex)
{
  return *mutex == 0 ? (*mutex = 1, 0) : __pthread_mutex_lock_full (mutex);
}

int
pthread_mutex_unlock (int *mutex)
{
  *mutex = 0;
  return 0;
}

ALIAS (pthread_mutex_lock, __pthread_mutex_lock)
ALIAS (pthread_mutex_unlock, __pthread_mutex_unlock)

STUB (pthread_cond_signal)
STUB (pthread_cond_wait)
STUB (pthread_mutex_destroy)
STUB (pthread_mutex_init)

STUB_NEW_IN_2_34 (pthread_create)
STUB_NEW_IN_2_34 (pthread_getspecific)
STUB_NEW_IN_2_34 (pthread_join)
STUB_NEW_IN_2_34 (pthread_key_create)
STUB_NEW_IN_2_34 (pthread_mutex_trylock)
STUB_NEW_IN_2_34 (pthread_once)
STUB_NEW_IN_2_34 (pthread_setspecific)
STUB_NEW_IN_2_34 (sem_post)
STUB_NEW_IN_2_34 (sem_wait)
