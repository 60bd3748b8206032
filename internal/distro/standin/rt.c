/* Timers and shared memory: librt.so.1 up to 2.33, part of libc.so.6 since.  */
#include "standin.h"

HIDDEN long
timer_helper_thread (long arg)
{
  return arg + (VARIANT);
}

STUB_NEW_IN_2_34 (mq_open)
STUB_NEW_IN_2_34 (mq_notify)
STUB_NEW_IN_2_34 (shm_open)
